//! A certificate that the server refuses is replaced.

use std::sync::Mutex;

use symbolon_tests::RESOURCE;
use symbolon_token::{ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error};
use symbolon_types::{ClientIdentity, Thumbprint};

use crate::credential::nobody;
use crate::server::{claims, client, server, ways_in};

/// A list of certificates; the last one is presented, and removed when it is refused.
#[derive(Debug)]
struct Successive {
    client: ClientAuth,
    certificates: Mutex<Vec<ClientIdentity>>,
}

impl Successive {
    fn new(endpoint: &str, client_id: &str, certificates: Vec<ClientIdentity>) -> Self {
        Self { client: nobody(endpoint, client_id), certificates: Mutex::new(certificates) }
    }
}

impl CredentialSource for Successive {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let certificate = self.certificates.lock().unwrap().last().cloned();
        Ok(self.client.clone().with_identity(certificate.expect("one that is not refused")))
    }

    async fn refused(&self, used: &ClientAuth, _why: &CredentialRejection) -> bool {
        let mut certificates = self.certificates.lock().unwrap();
        certificates.retain(|certificate| Some(certificate) != used.identity());
        !certificates.is_empty()
    }
}

#[tokio::test]
async fn token_is_bound_to_the_next_certificate() {
    let Some(server) = server().await else { return };
    for (way, issuer) in ways_in(server) {
        let (good, refused) = (server.clients.tls.certified.identity(), server.clients.stranger.identity());
        let credential =
            Successive::new(&issuer.entra_token_endpoint, server.clients.tls.id, vec![good.clone(), refused]);
        let token = client(server, credential).token_for_resource(RESOURCE).await;
        let token = token.unwrap_or_else(|error| panic!("{way}: {error}"));
        let bound_to: Thumbprint = claims(&token)["cnf"]["x5t#S256"].as_str().unwrap().parse().unwrap();
        assert_eq!(bound_to, good.thumbprint(), "{way}");
    }
}
