//! Tests of refusals of the token service.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use symbolon_emulator::{Emulator, EntryOutcome, Step};
use symbolon_types::{ManualClock, SharedClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, alert, form};
use crate::csr::Key;
use crate::fixtures::{bound_request, bound_token, certified, token_request};

#[tokio::test]
async fn invalid_token_request_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    let id = emulator.client_id();
    let scope = "https://vault.azure.net/.default";
    let valid = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("scope", scope),
        ("token_type", "mtls_pop"),
    ];
    let with = |name, value| {
        let mut parameters = valid.to_vec();
        match parameters.iter_mut().find(|(key, _)| *key == name) {
            Some(parameter) => parameter.1 = value,
            None => parameters.push((name, value)),
        }
        parameters
    };
    let without = |name: &str| valid.into_iter().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let twice = [&valid[..], &[("scope", scope)]].concat();
    for (parameters, error, code) in [
        (with("grant_type", "password"), "unsupported_grant_type", 70003),
        (without("grant_type"), "unsupported_grant_type", 70003),
        (without("client_id"), "invalid_request", 900144),
        (without("scope"), "invalid_scope", 1002012),
        (with("scope", "https://vault.azure.net"), "invalid_scope", 1002012),
        (with("scope", "https://vault.azure.net/.default/.default"), "invalid_scope", 1002012),
        (with("scope", "a/.default b/.default"), "invalid_scope", 1002012),
        (with("scope", "/.default"), "invalid_scope", 1002012),
        (with("token_type", "pop"), "invalid_request", 90100),
        (with("client_assertion", "a.b.c"), "invalid_request", 90100),
        (with("client_assertion_type", "urn:x"), "invalid_request", 90100),
        (with("client_secret", "s"), "invalid_request", 90100),
        (with("req_cnf", "r"), "invalid_request", 90100),
        (with("claims", "no JSON"), "invalid_request", 90100),
        (with("claims", "[]"), "invalid_request", 90100),
        (twice, "invalid_request", 90100),
        (with("client_id", "00000000-0000-4000-8000-000000000000"), "invalid_client", 700027),
    ] {
        let answer = client.send(form(&emulator.token_endpoint(), &parameters)).await.unwrap();
        let body = answer.json();
        assert_eq!(
            (&body["error"], &body["error_codes"]),
            (&json!(error), &json!([code])),
            "{parameters:?}: {body}"
        );
        assert_eq!(answer.status, if error == "invalid_client" { 401 } else { 400 });
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
    }
    for tenant in ["common", "organizations"] {
        let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", emulator.token_url());
        let body = client.send(form(&endpoint, &valid)).await.unwrap().json();
        assert_eq!(body["error_codes"], json!([90002]));
    }
    assert_eq!(client.send(form(&emulator.token_endpoint(), &valid)).await.unwrap().status, 200);
}

#[tokio::test]
async fn bound_token_needs_a_certificate() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let mut request = bound_request(&emulator);
    let correlation_id = "5f3c2f0e-5bb0-4d43-9d1c-0c3c7d9d8a11";
    request.headers_mut().insert("client-request-id", correlation_id.parse().unwrap());
    let answer = client.send(request).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]), (401, &json!("invalid_client")));
    assert_eq!(body["error_codes"], json!([392200]));
    assert_eq!(body["correlation_id"], correlation_id);
    for member in ["timestamp", "trace_id"] {
        assert!(body[member].is_string());
    }
    let body = client.send(token_request(&emulator, &[])).await.unwrap().json();
    assert_eq!(body["error_codes"], json!([7000218]));
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let emulator = Emulator::builder()
        .clock(SharedClock::new(clock.clone()))
        .certificate_lifetime(Duration::from_secs(1000))
        .token_not_after(Some(Duration::from_secs(500)))
        .start()
        .await
        .unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    for (advance, expected) in [(0, 200), (499, 200), (1, 400), (600, 400)] {
        clock.advance(Duration::from_secs(advance));
        let answer = Client::new(&emulator, Some(&identity)).send(bound_request(&emulator)).await.unwrap();
        let body = answer.json();
        assert_eq!(answer.status, expected, "after {advance} more seconds: {body}");
        if expected == 400 {
            assert_eq!(
                (&body["error"], &body["error_codes"]),
                (&json!("invalid_request"), &json!([1000901]))
            );
        }
    }
}

#[tokio::test]
async fn revoked_certificate_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    let (first, second) = (certified(&emulator, &key).await, certified(&emulator, &key).await);
    emulator.revoke(first.thumbprint());
    let answer = Client::new(&emulator, Some(&first)).send(bound_request(&emulator)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")));
    bound_token(&emulator, &second).await.unwrap();
}

#[tokio::test]
async fn tls_rejection_prevents_resumption() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let (identity, other) = (certified(&emulator, &key).await, certified(&emulator, &key).await);
        let client = Client::with_versions(&emulator, Some(&identity), versions);
        client.send(bound_request(&emulator)).await.unwrap();
        client.send(bound_request(&emulator)).await.unwrap();
        assert!(
            emulator.journal().last(Step::Token).unwrap().is_resumed(),
            "the session is resumed before the rejection"
        );

        emulator.reject_in_tls(identity.thumbprint());
        for _ in 0..5 {
            let error = client.send(bound_request(&emulator)).await.err().unwrap();
            assert_eq!(alert(&*error), Some(rustls::AlertDescription::CertificateRevoked), "{error:?}");
        }
        bound_token(&emulator, &other).await.unwrap();
    }
    let journal = emulator.journal();
    assert_eq!(journal.count(Step::Handshake), 10);
    assert!(journal.of(Step::Handshake).all(|entry| entry.outcome == EntryOutcome::CertificateRefused));
}

/// A server that closed at once would reset the connection at the first part of the request, and
/// the client would fail before it reads the alert.
#[tokio::test]
async fn slow_client_receives_the_alert() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    emulator.reject_in_tls(identity.thumbprint());
    let address = emulator.token_url().trim_start_matches("https://");
    let client = Client::with_versions(&emulator, Some(&identity), &[&rustls::version::TLS13]);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = client.handshake("127.0.0.1".to_owned(), stream).await.unwrap();
    let clock = SharedClock::system();
    for part in [&b"POST / HTTP/1.1\r\n"[..], b"Host: x\r\n", b"\r\n"] {
        clock.sleep(Duration::from_millis(50)).await;
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
    }
    let error = stream.read(&mut [0; 1]).await.err().unwrap();
    assert_eq!(alert(&error), Some(rustls::AlertDescription::CertificateRevoked), "{error:?}");
}

#[tokio::test]
async fn foreign_certificate_is_refused_in_tls() {
    let (emulator, elsewhere) = (Emulator::start().await.unwrap(), Emulator::start().await.unwrap());
    let foreign = certified(&elsewhere, &Key::p256()).await;
    let error = Client::new(&emulator, Some(&foreign)).send(bound_request(&emulator)).await.err().unwrap();
    assert!(alert(&*error).is_some(), "{error:?}");
}

#[tokio::test]
async fn certificate_of_other_client_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let other = emulator.issue_client_certificate(&emulator.user_assigned().client_id).unwrap();
    let body =
        Client::new(&emulator, Some(&other.into())).send(bound_request(&emulator)).await.unwrap().json();
    assert_eq!(body["error"], "invalid_client");
}
