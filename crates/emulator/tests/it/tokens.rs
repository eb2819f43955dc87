//! Tests of the issued tokens.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use http::Request;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Step, TlsVersion};

use crate::client::{Client, form, get};
use crate::csr::Key;
use crate::fixtures::{RESOURCE, SCOPE, bound_request, certified, token_request, v1_token_request};

/// Verifies a token with the published key, by a library that the emulator does not use, and
/// returns its claims.
pub(crate) async fn verified(emulator: &Emulator, token: &str) -> Value {
    let client = Client::new(emulator, None);
    let tenant = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
    let configuration =
        client.send(get(&format!("{tenant}/v2.0/.well-known/openid-configuration"))).await.unwrap().json();
    assert_eq!(configuration["token_endpoint"], emulator.token_endpoint());
    let keys = client.send(get(configuration["jwks_uri"].as_str().unwrap())).await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.body).unwrap();
    let header = decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[configuration["issuer"].as_str().unwrap()]);
    validation.set_audience(&[RESOURCE]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

#[tokio::test]
async fn bound_token_confirms_the_certificate() {
    let emulator = Emulator::start().await.unwrap();
    for (key, versions, expected) in [
        (Key::rsa(), &[&rustls::version::TLS13], TlsVersion::V1_3),
        (Key::rsa(), &[&rustls::version::TLS12], TlsVersion::V1_2),
        (Key::p256(), &[&rustls::version::TLS13], TlsVersion::V1_3),
        (Key::p256(), &[&rustls::version::TLS12], TlsVersion::V1_2),
    ] {
        let identity = certified(&emulator, &key).await;
        let client = Client::with_versions(&emulator, Some(&identity), versions);
        let answer = client.send(bound_request(&emulator)).await.unwrap();
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(body["token_type"], "mtls_pop");
        assert_eq!(body["expires_in"], 3599);
        assert!(body.get("refresh_in").is_none());
        assert_eq!(answer.header("cache-control"), "no-store");

        let claims = verified(&emulator, body["access_token"].as_str().unwrap()).await;
        assert_eq!(claims["cnf"], json!({ "x5t#S256": identity.thumbprint().to_string() }));
        assert_eq!(claims["appid"], emulator.client_id());
        assert_eq!(claims["tid"], emulator.tenant_id());
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3599);

        let journal = emulator.journal();
        let entry = journal.last(Step::Token).unwrap();
        assert_eq!(entry.tls_version(), Some(expected));
        assert_eq!(entry.certificate(), Some(identity.thumbprint()));
    }
}

#[tokio::test]
async fn certificate_gets_a_bearer_token() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let answer = Client::new(&emulator, Some(&identity)).send(token_request(&emulator, &[])).await.unwrap();
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    let claims = verified(&emulator, body["access_token"].as_str().unwrap()).await;
    assert!(claims.get("cnf").is_none());
}

#[tokio::test]
async fn v1_token_is_verified() {
    let emulator = Emulator::start().await.unwrap();
    let body = Client::new(&emulator, None).send(v1_token_request(&emulator, RESOURCE)).await.unwrap().json();
    let claims = verified(&emulator, body["access_token"].as_str().unwrap()).await;
    assert!(claims.get("cnf").is_none());
    assert_eq!(claims["appid"], emulator.client_id());
}

#[tokio::test]
async fn secret_in_the_body_or_http_basic() {
    let (id, secret) = ("11111111-2222-4333-8444-555555555555", "p@ss+w%rd: with spaces&more");
    let emulator = Emulator::builder().application(id, secret).start().await.unwrap();
    let client = Client::new(&emulator, None);
    let endpoint = emulator.token_endpoint();
    let rest = [("grant_type", "client_credentials"), ("scope", SCOPE)];

    let in_body = form(&endpoint, &[&[("client_id", id), ("client_secret", secret)], &rest[..]].concat());
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = |secret: &str| {
        let credentials = Base64::encode_string(format!("{}:{}", encode(id), encode(secret)).as_bytes());
        let mut request = form(&endpoint, &rest);
        request.headers_mut().insert("authorization", format!("Basic {credentials}").parse().unwrap());
        request
    };
    for request in [in_body, basic(secret)] {
        let answer = client.send(request).await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), body["token_type"].as_str()), (200, Some("Bearer")), "{body}");
        assert_eq!(verified(&emulator, body["access_token"].as_str().unwrap()).await["appid"], id);
    }
    let wrong = form(&endpoint, &[&[("client_id", id), ("client_secret", "wrong")], &rest[..]].concat());
    for request in [wrong, basic("wrong")] {
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["error_codes"]), (401, &json!([7000215])));
    }
    assert_eq!(emulator.journal().last(Step::Token).unwrap().authorization, Some("Basic"));
    let unknown = "99999999-2222-4333-8444-555555555555";
    let request =
        form(&endpoint, &[&[("client_id", unknown), ("client_secret", secret)], &rest[..]].concat());
    let answer = client.send(request).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]), (400, &"unauthorized_client".into()));
    assert_eq!(body["error_codes"], json!([700016]));
    assert!(body["error_description"].as_str().unwrap().contains("[host.applications]"), "{body}");
}

#[tokio::test]
async fn requested_claims_are_in_the_token() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let requested = json!({ "access_token": { "xms_cc": { "values": ["cp1"] }, "nsp": { "value": "v1" } } });
    let request = token_request(&emulator, &[("token_type", "mtls_pop"), ("claims", &requested.to_string())]);
    let body = Client::new(&emulator, Some(&identity)).send(request).await.unwrap().json();
    let claims = verified(&emulator, body["access_token"].as_str().unwrap()).await;
    assert_eq!(claims["claims_request"], requested);
    assert_eq!(claims["xms_cc"], json!(["cp1"]));
}

#[tokio::test]
async fn token_lifetime_is_configurable() {
    let emulator = Emulator::builder()
        .token_lifetime(Duration::from_secs(120))
        .refresh_in(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let body = Client::new(&emulator, Some(&identity)).send(bound_request(&emulator)).await.unwrap().json();
    assert_eq!((&body["expires_in"], &body["refresh_in"]), (&json!(120), &json!(60)));
}

#[tokio::test]
async fn tenant_of_a_certificate_is_checked() {
    let emulator = Emulator::start().await.unwrap();
    let application = "99999999-2222-4333-8444-555555555555";
    let own = emulator.issue_client_certificate(application).unwrap().into();
    let machine = certified(&emulator, &Key::p256()).await;
    let endpoint = format!("{}/contoso.example/oauth2/v2.0/token", emulator.token_url());
    for (identity, client_id, expected) in [(&own, application, 200), (&machine, emulator.client_id(), 400)] {
        let request = form(
            &endpoint,
            &[
                ("grant_type", "client_credentials"),
                ("client_id", client_id),
                ("scope", SCOPE),
                ("token_type", "mtls_pop"),
            ],
        );
        let answer = Client::new(&emulator, Some(identity)).send(request).await.unwrap();
        assert_eq!(answer.status, expected, "{}", answer.json());
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut session =
        Client::new(&emulator, Some(&identity)).connect(&emulator.token_endpoint()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(session.send(bound_request(&emulator)).await.unwrap().status, 200);
    }
    let journal = emulator.journal();
    let connections: std::collections::HashSet<_> =
        journal.of(Step::Token).map(|entry| entry.connection).collect();
    assert_eq!((journal.count(Step::Token), connections.len()), (20, 1));
}

#[tokio::test]
async fn unknown_path_and_method_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let url = |path: &str| format!("{}{path}", emulator.token_url());
    for (request, status) in [
        (get(&url("/")), 404),
        (get(&url("/tenant/elsewhere")), 404),
        (get(&emulator.token_endpoint()), 405),
        (Request::post(url("/t/discovery/v2.0/keys")).body(String::new()).unwrap(), 405),
    ] {
        assert_eq!(client.send(request).await.unwrap().status, status);
    }
}
