//! Requests that the server must refuse: acceptance by a server that refuses nothing proves
//! nothing.

use crate::certificate::Certified;
use crate::clients::SecretClient;
use crate::provider::OAuthServer;
use symbolon_tests::RESOURCE;
use symbolon_token::ErrorKind::{Credential as Refused, Service};
use symbolon_token::{Application, ClientCertificate, TokenEndpoint};

use crate::assertion::{Algorithm, Assertion};
use crate::credential::Credential;
use crate::server::{client, server, ways_in};

fn wrong_credentials(server: &OAuthServer, endpoint: &str) -> Vec<(&'static str, Credential)> {
    let clients = &server.clients;
    let (secret, tls, self_signed) = (&clients.secret, &clients.tls, &clients.self_signed);
    let with_certificate =
        |client_id, certified: &Certified| Credential::certificate(endpoint, client_id, certified.identity());
    let rs256 = |audience: &str| Assertion::new(&clients.rs256, Algorithm::Rs256, audience);
    vec![
        ("a wrong secret", Credential::secret(endpoint, &SecretClient { secret: "wrong", ..secret.clone() })),
        (
            "an unknown client",
            Credential::secret(endpoint, &SecretClient { id: "unknown", ..secret.clone() }),
        ),
        (
            "a secret in place of a certificate",
            Credential::secret(endpoint, &SecretClient { id: tls.id, ..secret.clone() }),
        ),
        ("tls: no certificate", Credential::name(endpoint, tls.id)),
        ("tls: another name", with_certificate(tls.id, &clients.stranger)),
        ("tls: the name, by nobody", with_certificate(tls.id, &clients.impostor)),
        ("self-signed: no certificate", Credential::name(endpoint, self_signed.id)),
        ("self-signed: another one", with_certificate(self_signed.id, &clients.impostor)),
        ("self-signed: one by an authority", with_certificate(self_signed.id, &tls.certified)),
        (
            "an assertion to somebody else",
            Credential::assertion(endpoint, rs256("https://login.example/token")),
        ),
        ("an assertion that has ended", Credential::assertion(endpoint, rs256(endpoint).expired())),
        (
            "an assertion signed with another key",
            Credential::assertion(endpoint, rs256(endpoint).signed_with(&tls.certified)),
        ),
        (
            "an assertion with another algorithm",
            Credential::assertion(endpoint, Assertion::new(&clients.rs256, Algorithm::Ps256, endpoint)),
        ),
    ]
}

#[tokio::test]
async fn wrong_credential_is_a_credential_error() {
    let Some(server) = server().await else { return };
    for (way, issuer) in ways_in(server) {
        for (case, credential) in wrong_credentials(server, &issuer.entra_token_endpoint) {
            let answer = client(server, credential).token_for_resource(RESOURCE).await;
            let error = answer.expect_err(case);
            let outcome = (error.kind(), error.code(), error.status(), error.is_transient());
            assert_eq!(outcome, (Refused, "invalid_client", Some(401), false), "{case}, {way}: {error}");
        }
    }
}

#[tokio::test]
async fn bound_only_client_needs_a_certificate() {
    let Some(server) = server().await else { return };
    for (way, issuer) in ways_in(server) {
        let credential = Credential::secret(&issuer.entra_token_endpoint, &server.clients.bound_secret);
        let error = client(server, credential).token_for_resource(RESOURCE).await.unwrap_err();
        let outcome = (error.kind(), error.code(), error.status());
        assert_eq!(outcome, (Service, "invalid_grant", Some(400)), "{way}: {error}");
    }
}

#[tokio::test]
async fn assertion_is_used_once() {
    let Some(server) = server().await else { return };
    let ps256 = &server.clients.ps256;
    for (way, issuer) in ways_in(server) {
        let endpoint = &issuer.entra_token_endpoint;
        let assertion = Assertion::new(ps256, Algorithm::Ps256, endpoint);
        let repeating = client(server, Credential::repeated_assertion(endpoint, &assertion));
        repeating.token_for_resource(RESOURCE).await.unwrap_or_else(|error| panic!("{way}: {error}"));
        let error = repeating.token_for_resource(RESOURCE).force_refresh().await.expect_err(way);
        assert_eq!((error.kind(), error.code()), (Refused, "invalid_client"), "{way}: {error}");

        let application = Application::at(TokenEndpoint::parse(endpoint).unwrap(), ps256.id).unwrap();
        let ours = ClientCertificate::new(application, ps256.certified.identity()).unwrap();
        let ours = client(server, ours);
        for time in ["first", "second"] {
            let token = ours.token_for_resource(RESOURCE).force_refresh().await;
            token.unwrap_or_else(|error| panic!("{way}, {time} time: {error}"));
        }
    }
}
