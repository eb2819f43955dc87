//! Credentials that present any given client authentication.

use std::fmt;
use std::sync::Arc;

use crate::clients::SecretClient;
use symbolon_token::{
    ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error, Partition, TokenEndpoint,
};
use symbolon_types::{ClientIdentity, Secret};

use crate::assertion::Assertion;

/// The client authentication for an issuer.
pub(crate) struct Credential(Arc<dyn Fn() -> ClientAuth + Send + Sync>);

impl Credential {
    /// Presents the same values each time.
    fn always(auth: ClientAuth) -> Self {
        Self(Arc::new(move || auth.clone()))
    }

    /// Calls `present` for each request.
    fn fresh(present: impl Fn() -> ClientAuth + Send + Sync + 'static) -> Self {
        Self(Arc::new(present))
    }

    /// A client secret in the body.
    pub(crate) fn secret(endpoint: &str, client: &SecretClient) -> Self {
        Self::always(secret(endpoint, client))
    }

    /// A client secret in the body, and a certificate on TLS.
    pub(crate) fn secret_over_mtls(endpoint: &str, client: &SecretClient, identity: ClientIdentity) -> Self {
        Self::always(secret(endpoint, client).with_identity(identity))
    }

    /// A certificate on TLS alone.
    pub(crate) fn certificate(endpoint: &str, client_id: &str, identity: ClientIdentity) -> Self {
        Self::always(nobody(endpoint, client_id).with_identity(identity))
    }

    /// The client id alone.
    pub(crate) fn name(endpoint: &str, client_id: &str) -> Self {
        Self::always(nobody(endpoint, client_id))
    }

    /// A new assertion each time.
    pub(crate) fn assertion(endpoint: &str, assertion: Assertion) -> Self {
        let nobody = nobody(endpoint, assertion.client_id());
        Self::fresh(move || with_assertion(nobody.clone(), &assertion.sign()))
    }

    /// The same assertion each time.
    pub(crate) fn repeated_assertion(endpoint: &str, assertion: &Assertion) -> Self {
        let nobody = nobody(endpoint, assertion.client_id());
        Self::always(with_assertion(nobody, &assertion.sign()))
    }
}

/// A client that presents its client id alone.
pub(crate) fn nobody(endpoint: &str, client_id: &str) -> ClientAuth {
    let partition = Partition::new(format!("{client_id} at {endpoint}"));
    ClientAuth::new(client_id, TokenEndpoint::parse(endpoint).unwrap(), partition)
}

fn secret(endpoint: &str, client: &SecretClient) -> ClientAuth {
    nobody(endpoint, client.id).with_parameter("client_secret", Secret::new(client.secret))
}

fn with_assertion(auth: ClientAuth, assertion: &str) -> ClientAuth {
    auth.with_parameter("client_assertion_type", Secret::new(Assertion::TYPE))
        .with_parameter("client_assertion", Secret::new(assertion))
}

impl CredentialSource for Credential {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        Ok((self.0)())
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}
