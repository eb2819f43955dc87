//! A certificate as the credential.

use std::borrow::Cow;

use symbolon_types::{ClientIdentity, Error};

use super::application::Application;
use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use super::source::{CredentialRequest, CredentialSource};
use crate::authority::AuthorityKind;
use crate::oauth::{ASSERTION, ASSERTION_TYPE, AssertionSigner, CredentialRejection, JWT_BEARER};

/// A client that authenticates with a certificate: by an assertion signed with its key
/// (`private_key_jwt`, RFC 7523), or by presenting it in the TLS handshake (RFC 8705 §2).
///
/// A request for proof of possession always presents it, and its token is bound to it; so one
/// credential serves both kinds, and their tokens are kept apart.
#[derive(Debug)]
pub struct ClientCertificate {
    application: Application,
    identity: ClientIdentity,
    signer: AssertionSigner,
    over_mtls: bool,
}

impl ClientCertificate {
    /// The certificate of this application, with its key.
    ///
    /// Assertions are signed with PS256, or with RS256 where the authority knows no better (ADFS,
    /// dSTS and other `OpenID` providers); by a P-256 or P-384 key with ES256 or ES384.
    ///
    /// # Errors
    /// `key_unusable` if the key offers no scheme that an assertion can be signed with.
    pub fn new(application: Application, identity: ClientIdentity) -> Result<Self, Error> {
        let signer = AssertionSigner::new(identity.clone())?;
        let signer = match application.authority_kind() {
            // A key that is none of RSA has its own algorithm, wherever it signs.
            Some(AuthorityKind::Adfs | AuthorityKind::Dsts | AuthorityKind::Oidc) => {
                signer.clone().rs256().unwrap_or(signer)
            }
            _ => signer,
        };
        Ok(Self { application, identity, signer, over_mtls: false })
    }

    /// Signs with RS256 and names the certificate by its SHA-1 thumbprint, for a server that knows
    /// no better.
    ///
    /// # Errors
    /// `key_unusable` if the key cannot.
    pub fn rs256(mut self) -> Result<Self, Error> {
        self.signer = self.signer.rs256()?;
        Ok(self)
    }

    /// Sends the certificate chain in the header of each assertion (`x5c`), for authorities that
    /// trust the issuer of the certificate and its subject name.
    #[must_use]
    pub fn send_x5c(mut self) -> Self {
        self.signer = self.signer.with_chain();
        self
    }

    /// Adds claims of your own to each assertion, as a JSON object.
    ///
    /// # Errors
    /// `invalid_client_assertion` if it is none, or sets a claim that the assertion itself needs.
    pub fn assertion_claims(mut self, object: &str) -> Result<Self, Error> {
        self.signer = self.signer.with_claims(object)?;
        Ok(self)
    }

    /// Presents the certificate in the TLS handshake also for bearer tokens. Entra still expects
    /// an assertion then, with `x5c`; other servers take the handshake alone.
    #[must_use]
    pub fn over_mtls(mut self) -> Self {
        self.over_mtls = true;
        self
    }
}

impl CredentialSource for ClientCertificate {
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        let identity = self.application.cache_identity(request);
        Some(match request.proof_of_possession() {
            true => identity.bound_to(Cow::Borrowed(&self.identity)),
            false => identity,
        })
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let is_bound = request.proof_of_possession();
        let auth = self.application.authenticate(request, is_bound || self.over_mtls).await?;
        let identity = self.identity.clone();
        Ok(match (is_bound, self.over_mtls) {
            (true, _) => auth.with_proof_of_possession(identity),
            (false, true) if self.application.authority_kind() == Some(AuthorityKind::Entra) => {
                asserting(auth.with_identity(identity), self.signer.clone().with_chain())
            }
            (false, true) => auth.with_identity(identity),
            (false, false) => asserting(auth, self.signer.clone()),
        })
    }

    /// There is only one certificate.
    async fn refused(&self, _used: &ClientAuth, _rejection: &CredentialRejection) -> bool {
        false
    }
}

/// Adds an assertion, which is signed anew for each HTTP request: no assertion is sent twice.
fn asserting(auth: ClientAuth, signer: AssertionSigner) -> ClientAuth {
    let mut audience = auth.token_endpoint().url().clone();
    audience.set_query(None);
    let client_id = auth.client_id().to_owned();
    auth.with_parameter(ASSERTION_TYPE, JWT_BEARER.into()).with_fresh_parameters(move |now| {
        Ok(vec![(ASSERTION.into(), signer.sign(audience.as_str(), &client_id, now)?)])
    })
}
