//! An assertion that somebody else makes, as the credential.

use std::sync::Arc;

use symbolon_types::{ClientIdentity, Error, ErrorKind};

use super::application::Application;
use super::assertion_source::{AssertionRequest, AssertionSource, ErasedSource, SignedAssertion};
use super::auth::ClientAuth;
use super::auth_future::AuthFuture;
use super::memo::AuthMemo;
use super::source::{CredentialRequest, CredentialSource, Purpose};
use crate::oauth::{ASSERTION, ASSERTION_TYPE, CredentialRejection, JWT_BEARER};

/// An assertion that is itself bound to the certificate of the connection (MSAL.NET
/// `OAuthConstants`).
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// A client that authenticates with assertions that somebody else makes: a federated identity, a
/// signing service, a managed identity.
///
/// The source is asked once for each exchange. If its assertion is bound to a certificate, that
/// certificate is presented in the same exchange's handshake, and a request for proof of
/// possession gets a token that is bound to it.
#[derive(Debug)]
pub struct ClientAssertion {
    application: Application,
    source: Arc<dyn ErasedSource>,
    memo: AuthMemo,
}

impl ClientAssertion {
    /// The assertions of this source, for this application.
    pub fn new(application: Application, source: impl AssertionSource) -> Self {
        Self { application, source: Arc::new(source), memo: AuthMemo::default() }
    }

    async fn present(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let wanted = AssertionRequest::new(self.application.client_id(), request);
        let SignedAssertion { assertion, binding } = self.source.assertion_erased(&wanted).await?;
        if assertion.expose().trim().is_empty() {
            let error = "the assertion source gave an empty assertion; nothing was sent";
            return Err(Error::new(ErrorKind::Credential, "invalid_client_assertion", error)
                .with_advice("check where the assertion comes from"));
        }
        let located = self.application.located(request, binding.is_some()).await?;
        let kind = if binding.is_some() { JWT_POP } else { JWT_BEARER };
        let auth = self.application.undressed(located, request.tenant());
        let auth = worn(auth, binding, request.proof_of_possession());
        // The next look-up looks under the certificate of this assertion.
        self.memo.keep(request, &auth);
        Ok(auth.with_parameter(ASSERTION_TYPE, kind.into()).with_parameter(ASSERTION, assertion))
    }
}

fn worn(auth: ClientAuth, binding: Option<ClientIdentity>, is_bound: bool) -> ClientAuth {
    match binding {
        Some(identity) if is_bound => auth.with_proof_of_possession(identity),
        Some(identity) => auth.with_identity(identity),
        None => auth,
    }
}

impl CredentialSource for ClientAssertion {
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> AuthFuture<'a> {
        match request.purpose() {
            Purpose::Exchange => AuthFuture::future(self.present(request)),
            Purpose::LookUp => self.application.present(request, false, &self.memo, Ok),
        }
    }

    /// The next assertion would come from the same source.
    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}
