//! Client authentication with a secret.

use symbolon_types::{Error, ErrorKind, Secret};

use super::application::Application;
use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use super::source::{CredentialRequest, CredentialSource};
use crate::oauth::CredentialRejection;

/// A client that authenticates with a secret in the body of the request: `client_secret_post`
/// (RFC 6749 §2.3.1).
///
/// A secret cannot bind tokens: a request for proof-of-possession fails before anything is sent.
#[derive(Debug)]
pub struct ClientSecret {
    application: Application,
    secret: Secret,
}

impl ClientSecret {
    /// Creates the credential of this application from its secret.
    ///
    /// # Errors
    /// `invalid_client_credential` if the secret is empty.
    pub fn new(application: Application, secret: Secret) -> Result<Self, Error> {
        if secret.expose().is_empty() {
            let error =
                Error::new(ErrorKind::Request, "invalid_client_credential", "the client secret is empty");
            return Err(error.with_advice("set the client secret of the app registration"));
        }
        Ok(Self { application, secret })
    }
}

impl CredentialSource for ClientSecret {
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        (!request.proof_of_possession()).then(|| self.application.cache_identity(request))
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        if request.proof_of_possession() {
            let error = "a client secret cannot bind a token to a certificate; nothing was sent";
            return Err(Error::new(ErrorKind::Request, "mtls_certificate_not_provided", error)
                .with_advice("use a certificate as the credential, or request a bearer token"));
        }
        let auth = self.application.authenticate(request, false).await?;
        Ok(auth.with_parameter("client_secret", self.secret.clone()))
    }

    /// The credential has no other secret.
    async fn refused(&self, _used: &ClientAuth, _rejection: &CredentialRejection) -> bool {
        false
    }
}
