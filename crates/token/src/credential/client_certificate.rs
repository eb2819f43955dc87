//! Client authentication with a certificate.

use std::borrow::Cow;

use symbolon_files::spawn_blocking;
use symbolon_types::{ClientIdentity, Error, IdentityCell};

use super::application::Application;
use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use super::source::{CredentialRequest, CredentialSource};
use crate::authority::AuthorityKind;
use crate::oauth::{ASSERTION, ASSERTION_TYPE, AssertionSigner, CredentialRejection, JWT_BEARER};

/// A client that authenticates with a certificate: by an assertion signed with its key
/// (`private_key_jwt`, RFC 7523), or by presenting it in the TLS handshake (RFC 8705 §2).
///
/// A request for proof-of-possession presents the certificate in the handshake, and its token is
/// bound to it. One credential serves both kinds of tokens, which are cached apart.
#[derive(Debug)]
#[must_use]
pub struct ClientCertificate {
    application: Application,
    /// `None` if the certificate of the signer is the only one.
    certificate: Option<IdentityCell>,
    /// Of the first certificate.
    signer: AssertionSigner,
    over_mtls: bool,
}

impl ClientCertificate {
    /// Creates the credential of this application from a certificate that is replaced from time to
    /// time. Each token request uses the present one, and a bound token stays with the certificate
    /// that it is bound to.
    ///
    /// For a certificate in files, `ClientIdentityLoader::follow_files` of `symbolon-rustls` and
    /// `symbolon-hyper` makes the cell. The files are then read for each token request, and at once
    /// after a refusal of the certificate.
    ///
    /// The settings below apply to each certificate. `symbolon-rustls` makes TLS configurations
    /// from the same cell.
    ///
    /// # Errors
    /// Those of [`new`](Self::new) for the present certificate. Token requests fail with the same
    /// errors for a later one.
    pub fn rotating(application: Application, certificate: IdentityCell) -> Result<Self, Error> {
        let credential = Self::new(application, certificate.get())?;
        Ok(Self { certificate: Some(certificate), ..credential })
    }

    /// Creates the credential of this application from its certificate and key.
    ///
    /// An RSA key signs assertions with PS256, and for AD FS, dSTS and other `OpenID` providers
    /// with RS256. A P-256 or P-384 key signs with ES256 or ES384.
    ///
    /// # Errors
    /// `key_unusable` if the key supports none of these algorithms.
    pub fn new(application: Application, identity: ClientIdentity) -> Result<Self, Error> {
        let signer = AssertionSigner::new(identity)?;
        let signer = match application.authority_kind() {
            // An EC key has one algorithm, for all authorities.
            Some(AuthorityKind::Adfs | AuthorityKind::Dsts | AuthorityKind::Oidc) => {
                signer.clone().rs256().unwrap_or(signer)
            }
            _ => signer,
        };
        Ok(Self { application, certificate: None, signer, over_mtls: false })
    }

    /// Signs with RS256, and names the certificate by its SHA-1 thumbprint, for a server that
    /// supports nothing newer.
    ///
    /// # Errors
    /// `key_unusable` if the key is not an RSA key.
    pub fn rs256(mut self) -> Result<Self, Error> {
        self.signer = self.signer.rs256()?;
        Ok(self)
    }

    /// Sends the certificate chain in the header of each assertion (`x5c`), for authorities that
    /// trust the issuer of the certificate and its subject name.
    pub fn send_x5c(mut self) -> Self {
        self.signer = self.signer.with_chain();
        self
    }

    /// Adds claims of your own to each assertion, as a JSON object.
    ///
    /// # Errors
    /// `invalid_client_assertion` if the text is not a JSON object, or sets a claim that the
    /// assertion itself sets.
    pub fn assertion_claims(mut self, object: &str) -> Result<Self, Error> {
        self.signer = self.signer.with_claims(object)?;
        Ok(self)
    }

    /// Presents the certificate in the TLS handshake also for bearer tokens. Entra then receives an
    /// assertion with `x5c` as well; for other servers the handshake is enough.
    pub fn over_mtls(mut self) -> Self {
        self.over_mtls = true;
        self
    }

    /// Loads the certificate again, if the cell has a source of it. Otherwise, and after a failure,
    /// the present one stays.
    async fn reload(&self) {
        if let Some(cell) = self.certificate.clone().filter(IdentityCell::is_reloading) {
            let _loaded = spawn_blocking(move || cell.reload()).await;
        }
    }

    /// Returns the present certificate.
    fn identity(&self) -> Cow<'_, ClientIdentity> {
        match &self.certificate {
            Some(cell) => Cow::Owned(cell.get()),
            None => Cow::Borrowed(self.signer.identity()),
        }
    }
}

impl CredentialSource for ClientCertificate {
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        let identity = self.application.cache_identity(request);
        Some(match request.proof_of_possession() {
            true => identity.bound_to(self.identity()),
            false => identity,
        })
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        self.reload().await;
        let is_bound = request.proof_of_possession();
        let auth = self.application.authenticate(request, is_bound || self.over_mtls).await?;
        let identity = self.identity().into_owned();
        Ok(match (is_bound, self.over_mtls) {
            (true, _) => auth.with_proof_of_possession(identity),
            (false, true) if self.application.authority_kind() == Some(AuthorityKind::Entra) => {
                let signer = self.signer.for_identity(identity.clone())?.with_chain();
                asserting(auth.with_identity(identity), signer)
            }
            (false, true) => auth.with_identity(identity),
            (false, false) => asserting(auth, self.signer.for_identity(identity)?),
        })
    }

    /// Another certificate is available if the refused one was replaced in the meantime.
    async fn refused(&self, used: &ClientAuth, _rejection: &CredentialRejection) -> bool {
        self.reload().await;
        let current = self.identity();
        used.certificates().any(|certificate| *certificate != *current)
    }
}

/// Adds a client assertion, which is signed anew for each HTTP request.
fn asserting(auth: ClientAuth, signer: AssertionSigner) -> ClientAuth {
    let mut audience = auth.token_endpoint().url().clone();
    audience.set_query(None);
    let client_id = auth.client_id().to_owned();
    let auth = auth.signed_by(signer.identity().clone());
    auth.with_parameter(ASSERTION_TYPE, JWT_BEARER.into()).with_fresh_parameters(move |now| {
        Ok(vec![(ASSERTION.into(), signer.sign(audience.as_str(), &client_id, now)?)])
    })
}
