//! Client assertions from an external source.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_types::{ClientIdentity, Error, ErrorKind};

use super::application::Application;
use super::assertion_source::{AssertionRequest, AssertionSource, ErasedSource, SignedAssertion};
use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use super::source::{CredentialRequest, CredentialSource};
use super::token_proxy::KubernetesTokenProxy;
use crate::oauth::{ASSERTION, ASSERTION_TYPE, CredentialRejection, JWT_BEARER};

/// The kind of an assertion that is bound to the certificate of the connection
/// (`docs/protocol/token-request.md#client-assertion`).
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// A client that authenticates with assertions from an [`AssertionSource`]: a federated identity, a
/// signing service, a managed identity.
///
/// The source is called once for each exchange. If its assertion is bound to a certificate, that
/// certificate is presented in the handshake of the exchange, and a request for proof of possession
/// leads to a token that is bound to it.
#[derive(Debug)]
pub struct ClientAssertion {
    application: Application,
    source: Arc<dyn ErasedSource>,
    token_proxy: Option<KubernetesTokenProxy>,
    /// The certificate of the last assertion: bound tokens are looked up under it.
    last_bound_to: Mutex<Option<ClientIdentity>>,
}

impl ClientAssertion {
    /// Creates the credential of this application from an assertion source.
    pub fn new(application: Application, source: impl AssertionSource) -> Self {
        Self { application, source: Arc::new(source), token_proxy: None, last_bound_to: Mutex::default() }
    }

    /// Sends the token requests to the token proxy of the cluster, if there is one, in place of the
    /// token endpoint. The host of the authority is then neither called nor validated, and no
    /// region is determined.
    #[must_use]
    pub fn token_proxy(mut self, proxy: Option<KubernetesTokenProxy>) -> Self {
        self.token_proxy = proxy;
        self
    }

    fn last_bound_to(&self) -> MutexGuard<'_, Option<ClientIdentity>> {
        self.last_bound_to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialSource for ClientAssertion {
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        let identity = self.application.cache_identity(request);
        match request.proof_of_possession() {
            true => Some(identity.bound_to(Cow::Owned(self.last_bound_to().clone()?))),
            false => Some(identity),
        }
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let assertion_request = AssertionRequest::new(self.application.client_id(), request);
        let SignedAssertion { assertion, binding } = self.source.assertion_erased(&assertion_request).await?;
        if assertion.expose().trim().is_empty() {
            let error = "the assertion source returned an empty assertion; nothing was sent";
            return Err(Error::new(ErrorKind::Credential, "invalid_client_assertion", error)
                .with_advice("check the source of the client assertion"));
        }
        let auth = match &self.token_proxy {
            Some(proxy) => {
                let direct = self.application.unrouted_endpoint(request)?;
                self.application.authenticate_at(request, proxy.endpoint_for(&direct).await?.into())
            }
            None => self.application.authenticate(request, binding.is_some()).await?,
        };
        let kind = if binding.is_some() { JWT_POP } else { JWT_BEARER };
        let auth = auth.with_parameter(ASSERTION_TYPE, kind.into()).with_parameter(ASSERTION, assertion);
        Ok(match binding {
            Some(identity) if request.proof_of_possession() => {
                *self.last_bound_to() = Some(identity.clone());
                auth.with_proof_of_possession(identity)
            }
            Some(identity) => auth.with_identity(identity),
            None => auth,
        })
    }

    /// Another assertion would come from the same source, so a retry does not help.
    async fn refused(&self, _used: &ClientAuth, _rejection: &CredentialRejection) -> bool {
        false
    }
}
