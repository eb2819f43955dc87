//! The simplest credential.

use symbolon_types::{Error, ErrorKind, Secret};

use crate::{ClientAuth, CredentialRequest, CredentialSource, Partition, Refusal, Resolution, TokenEndpoint};

/// A client that authenticates with a secret in the body of the request: `client_secret_post`
/// (RFC 6749 §2.3.1).
///
/// It cannot bind tokens: a request for proof of possession fails before anything is sent.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    auth: ClientAuth,
}

impl ClientSecret {
    /// The secret of a client that is registered at the issuer of this endpoint.
    ///
    /// # Errors
    /// `invalid_client_credential` if the client id or the secret is empty.
    pub fn new(token_endpoint: TokenEndpoint, client_id: &str, secret: Secret) -> Result<Self, Error> {
        if client_id.trim().is_empty() || secret.expose().is_empty() {
            let error = "the client id or the client secret is empty";
            return Err(Error::new(ErrorKind::Request, "invalid_client_credential", error)
                .with_advice("set both as they were registered"));
        }
        let partition = Partition::new(format!("app\0{}\0{client_id}", token_endpoint.url()));
        let auth =
            ClientAuth::new(client_id, token_endpoint, partition).with_parameter("client_secret", secret);
        Ok(Self { auth })
    }
}

impl CredentialSource for ClientSecret {
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> Resolution<'a> {
        Resolution::ready(if request.proof_of_possession() {
            let error = "a client secret cannot bind a token to a certificate; nothing was sent";
            Err(Error::new(ErrorKind::Request, "mtls_certificate_not_provided", error)
                .with_advice("use a certificate as the credential, or ask for a bearer token"))
        } else {
            Ok(self.auth.clone())
        })
    }

    /// There is no other secret to try.
    async fn refused(&self, _used: &ClientAuth, _why: &Refusal) -> bool {
        false
    }
}
