//! Every client authentication method gets a token.

use std::time::{Duration, UNIX_EPOCH};

use crate::clients::{CertifiedClient, Clients};
use crate::provider::{Issuer, OAuthServer, OPAQUE_RESOURCE};
use serde_json::json;
use symbolon_test_logs::CapturedLogs;
use symbolon_tests::RESOURCE;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientCertificate, ClientSecret, TokenClient, TokenEndpoint};
use symbolon_types::{ClientIdentity, Secret};

use crate::credential::Credential;
use crate::server::{claims, client, confirmation, introspect, server, ways_in};

/// An authentication method: its identifier, a client of it, the certificate of its tokens.
type Row = (&'static str, &'static str, TokenClient, Option<ClientIdentity>);

fn rows(server: &OAuthServer, issuer: &Issuer, endpoint: &str) -> Vec<Row> {
    let Clients { secret, bound_secret, tls, self_signed, rs256, ps256, es256, stranger, .. } =
        &server.clients;
    let application = |id| Application::at(TokenEndpoint::parse(endpoint).unwrap(), id).unwrap();
    let discovered = |id| Application::new(Authority::oidc(&issuer.issuer).unwrap(), id).unwrap();
    let by_secret = |application| ClientSecret::new(application, Secret::new(secret.secret)).unwrap();
    let by_certificate = |client: &CertifiedClient| {
        ClientCertificate::new(application(client.id), client.certified.identity()).unwrap()
    };
    let any = stranger.identity();
    let by_both = Credential::secret_over_mtls(endpoint, bound_secret, any.clone());
    let of = |client: &CertifiedClient| Some(client.certified.identity());
    let with = |certificate| client(server, certificate);
    vec![
        ("a secret", secret.id, client(server, by_secret(application(secret.id))), None),
        ("a secret, discovered", secret.id, client(server, by_secret(discovered(secret.id))), None),
        ("a secret, and any certificate", bound_secret.id, client(server, by_both), Some(any)),
        ("tls_client_auth", tls.id, with(by_certificate(tls).over_mtls()), of(tls)),
        (
            "self_signed_tls_client_auth",
            self_signed.id,
            with(by_certificate(self_signed).over_mtls()),
            of(self_signed),
        ),
        ("RS256", rs256.id, with(by_certificate(rs256).rs256().unwrap()), None),
        ("PS256", ps256.id, with(by_certificate(ps256)), None),
        ("PS256 with x5c", ps256.id, with(by_certificate(ps256).send_x5c()), None),
        ("ES256", es256.id, with(by_certificate(es256)), None),
    ]
}

#[tokio::test]
async fn every_method_gets_a_bound_token() {
    let Some(server) = server().await else { return };
    let logs = CapturedLogs::begin();
    for (way, issuer) in ways_in(server) {
        for (method, client_id, client, bound_to) in rows(server, issuer, &issuer.entra_token_endpoint) {
            let case = format!("{method}, {way}");
            let token = client.token_for_resource(RESOURCE).await;
            let token = token.unwrap_or_else(|error| panic!("{case}: {error} {:?}", error.excerpt()));
            let claims = claims(&token);
            let claim = |name: &str| claims[name].as_str();
            assert_eq!(claim("iss"), Some(issuer.issuer.as_str()), "{case}");
            assert_eq!((claim("aud"), claim("client_id")), (Some(RESOURCE), Some(client_id)), "{case}");
            assert_eq!(claims["cnf"], confirmation(bound_to.as_ref()), "{case}");
            let ends = UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64().unwrap());
            let difference = token.expires_on().duration_since(ends).unwrap_or_else(|error| error.duration());
            assert!(difference < Duration::from_secs(10), "{case}: {:?}, not {ends:?}", token.expires_on());
        }
    }
    let logs = logs.text();
    assert!(logs.contains("fetched a token"), "{logs}");
    // Tokens and assertions are JWTs; their headers begin with `{"` in base64url.
    for secret in ["eyJ", server.clients.secret.secret, server.clients.bound_secret.secret] {
        assert!(!logs.contains(secret), "a secret was logged:\n{logs}");
    }
}

#[tokio::test]
async fn opaque_tokens_are_bound_at_the_server() {
    let Some(server) = server().await else { return };
    for (way, issuer) in ways_in(server) {
        for (method, client_id, client, bound_to) in rows(server, issuer, &issuer.token_endpoint) {
            let case = format!("{method}, {way}");
            let token = client.token_for_resource(OPAQUE_RESOURCE).await;
            let token = token.unwrap_or_else(|error| panic!("{case}: {error} {:?}", error.excerpt()));
            let answer = introspect(server, issuer, &token).await;
            assert_eq!(answer["active"], true, "{case}");
            assert_eq!(
                (&answer["aud"], &answer["client_id"]),
                (&json!(OPAQUE_RESOURCE), &json!(client_id)),
                "{case}"
            );
            assert_eq!(answer["cnf"], confirmation(bound_to.as_ref()), "{case}");
        }
    }
}
