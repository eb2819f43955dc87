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
    /// `invalid_client_credential` if the secret is empty, begins or ends with white space, or has
    /// a line break or another control character (RFC 6749 appendix A.2).
    pub fn new(application: Application, secret: Secret) -> Result<Self, Error> {
        if let Some(flaw) = flaw(secret.expose()) {
            let error = format!("the client secret {flaw}; nothing was sent");
            return Err(Error::new(ErrorKind::Request, "invalid_client_credential", error).with_advice(
                "set the client secret of the app registration, without a line break at its end",
            ));
        }
        Ok(Self { application, secret })
    }
}

/// Returns the flaw of a secret. Quotes and spaces inside may belong to it.
fn flaw(secret: &str) -> Option<&'static str> {
    if secret.is_empty() {
        Some("is empty")
    } else if secret.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if secret.ends_with(['\r', '\n']) {
        Some("ends with a line break")
    } else if secret.contains(char::is_control) {
        Some("has a control character")
    } else if secret.trim() != secret {
        Some("begins or ends with white space")
    } else {
        None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_secrets_have_flaws() {
        for (secret, expected) in [
            ("a8Q~x_y.z-1", None),
            ("a b&c\"d", None),
            ("\"é\"", None),
            ("", Some("is empty")),
            ("\u{feff}x", Some("begins with a byte order mark")),
            ("x\n", Some("ends with a line break")),
            ("x\r\n", Some("ends with a line break")),
            ("x\0y", Some("has a control character")),
            ("x ", Some("begins or ends with white space")),
            (" ", Some("begins or ends with white space")),
        ] {
            assert_eq!(flaw(secret), expected, "{secret:?}");
        }
    }
}
