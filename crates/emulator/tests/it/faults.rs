//! Tests of each fault.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use serde_json::json;
use symbolon_emulator::{CertificateFault, Emulator, EntryOutcome, Fault, Step};
use symbolon_types::{ManualClock, SharedClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::{Client, authorized, cause, get};
use crate::csr::Key;
use crate::fixtures::{
    RESOURCE, bound_request, bound_token, certified, csr, issue, platform_metadata, platform_request,
    v1_token_request,
};

#[tokio::test]
async fn scripted_status_applies_n_times() {
    let emulator = Emulator::builder()
        .fault(
            Fault::status(Step::PlatformMetadata, 503)
                .header("retry-after", "7")
                .body(r#"{"error":"busy"}"#)
                .times(2),
        )
        .start()
        .await
        .unwrap();
    let client = Client::new(&emulator, None);
    for _ in 0..2 {
        let answer = client.send(platform_request(&emulator)).await.unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "7");
        assert_eq!(answer.json(), json!({ "error": "busy" }));
        assert!(answer.header("server").contains("IMDS"));
    }
    assert_eq!(client.send(platform_request(&emulator)).await.unwrap().status, 200);
    emulator.inject(Fault::redirect(Step::PlatformMetadata, "http://127.0.0.1:1/elsewhere").always());
    for _ in 0..3 {
        let answer = client.send(platform_request(&emulator)).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (307, "http://127.0.0.1:1/elsewhere")
        );
    }
    emulator.clear_faults();
    assert_eq!(client.send(platform_request(&emulator)).await.unwrap().status, 200);
    let journal = emulator.journal();
    assert_eq!(journal.entries().next().unwrap().fault, Some("status"));
    assert_eq!(journal.entries().next_back().unwrap().fault, None);
}

#[tokio::test]
async fn reset_with_and_without_tls() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    for (step, request) in [
        (Step::PlatformMetadata, platform_request(&emulator)),
        (Step::Token, bound_request(&emulator)),
        (Step::Resource, get(emulator.resource_url())),
    ] {
        emulator.inject(Fault::reset(step));
        let error = Client::new(&emulator, Some(&identity)).send(request).await.err().unwrap();
        let kind = cause::<io::Error>(&*error).map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::ConnectionReset), "{step}: {error:?}");
        assert_eq!(emulator.journal().last(step).unwrap().outcome, EntryOutcome::Reset);
    }
    bound_token(&emulator, &identity).await.unwrap();
}

#[tokio::test]
async fn handshake_is_reset_stalled_or_delayed() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let emulator = Emulator::builder().clock(SharedClock::new(clock.clone())).start().await.unwrap();
    let client = Client::new(&emulator, None);
    emulator.inject(Fault::reset(Step::Handshake));
    let error = client.send(bound_request(&emulator)).await.err().unwrap();
    assert_eq!(cause::<io::Error>(&*error).map(io::Error::kind), Some(io::ErrorKind::ConnectionReset));

    emulator.inject(Fault::stall(Step::Handshake));
    emulator.inject(Fault::delay(Step::Handshake, Duration::from_secs(5)));
    let send = || {
        tokio::spawn({
            let (client, request) = (client.clone(), bound_request(&emulator));
            async move { client.send(request).await.map(|answer| answer.status.as_u16()).ok() }
        })
    };
    let stalled = send();
    while emulator.journal().count(Step::Handshake) < 2 {
        tokio::task::yield_now().await;
    }
    let late = send();
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(5));
    assert_eq!(late.await.unwrap(), Some(401));
    assert!(!stalled.is_finished());
    let journal = emulator.journal();
    let outcomes: Vec<_> = journal.of(Step::Handshake).map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [EntryOutcome::Reset, EntryOutcome::Stalled]);
}

#[tokio::test]
async fn stalled_request_blocks_no_other() {
    let emulator = Emulator::start().await.unwrap();
    emulator.inject(Fault::stall(Step::PlatformMetadata));
    let client = Client::new(&emulator, None);
    let mut stalled = tokio::spawn({
        let (client, request) = (client.clone(), platform_request(&emulator));
        async move { client.send(request).await.is_ok() }
    });
    let mut entries = emulator.subscribe();
    while emulator.journal().count(Step::PlatformMetadata) == 0 {
        entries.next().await.unwrap();
    }
    assert_eq!(client.send(platform_request(&emulator)).await.unwrap().status, 200);
    let clock = SharedClock::system();
    tokio::select! {
        _ = &mut stalled => panic!("the stalled request was answered"),
        () = clock.sleep(Duration::from_millis(100)) => {}
    }
    assert_eq!(emulator.journal().entries().next().unwrap().outcome, EntryOutcome::Stalled);
    drop(emulator);
    assert!(!stalled.await.unwrap(), "stopping the emulator closes the connection");
}

#[tokio::test]
async fn delay_uses_the_emulator_clock() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let emulator = Emulator::builder().clock(SharedClock::new(clock.clone())).start().await.unwrap();
    emulator.inject(Fault::delay(Step::PlatformMetadata, Duration::from_secs(3600)));
    let request = tokio::spawn({
        let (client, request) = (Client::new(&emulator, None), platform_request(&emulator));
        async move { client.send(request).await.unwrap().status }
    });
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished());
    clock.advance(Duration::from_secs(3600));
    assert_eq!(request.await.unwrap(), 200);
}

#[tokio::test]
async fn bodies_are_torn_oversized_or_malformed() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    for (step, request) in
        [(Step::PlatformMetadata, platform_request(&emulator)), (Step::Token, bound_request(&emulator))]
    {
        emulator.inject(Fault::torn_body(step));
        let error = client.send(request.clone()).await.err().unwrap();
        assert!(cause::<hyper::Error>(&*error).is_some(), "{error:?}");
        assert_eq!(emulator.journal().last(step).unwrap().outcome, EntryOutcome::Torn(200));

        emulator.inject(Fault::oversized_body(step));
        let answer = client.send(request.clone()).await.unwrap();
        assert!(answer.body.len() > 1 << 20 && answer.json().is_object());

        emulator.inject(Fault::malformed_json(step));
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(
            !answer.body.is_empty() && serde_json::from_slice::<serde_json::Value>(&answer.body).is_err()
        );
    }
}

#[tokio::test]
async fn torn_body_is_half_of_its_length() {
    let emulator = Emulator::start().await.unwrap();
    emulator.inject(Fault::torn_body(Step::PlatformMetadata));
    let mut stream = TcpStream::connect(emulator.imds_url().trim_start_matches("http://")).await.unwrap();
    let path = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nmetadata: true\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len() * 2)), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(body).unwrap().is_object());
}

#[tokio::test]
async fn oauth_error_has_the_format_of_entra() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    emulator.inject(Fault::oauth_error("invalid_client", &[1_000_610]));
    emulator.inject(Fault::oauth_error("unauthorized_client", &[]));
    emulator.inject(
        Fault::oauth_error("temporarily_unavailable", &[90_033]).with_status(429).header("retry-after", "3"),
    );
    for (status, error, codes, retry_after) in [
        (401, "invalid_client", json!([1_000_610]), ""),
        (400, "unauthorized_client", json!([]), ""),
        (429, "temporarily_unavailable", json!([90_033]), "3"),
    ] {
        let answer = client.send(bound_request(&emulator)).await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), body["error"].as_str()), (status, Some(error)));
        assert_eq!((&body["error_codes"], answer.header("retry-after")), (&codes, retry_after));
    }
}

#[tokio::test]
async fn claims_challenge_from_token_or_resource() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    emulator.inject(Fault::claims_challenge(Step::Token, claims));
    let answer = client.send(bound_request(&emulator)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()["claims"].as_str()), (400, Some(claims)));

    emulator.inject(Fault::claims_challenge(Step::Resource, claims));
    let answer = client.send(get(emulator.resource_url())).await.unwrap();
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains(r#"error="insufficient_claims""#));
    assert!(challenge.contains(&Base64::encode_string(claims.as_bytes())));
}

#[tokio::test]
async fn token_response_is_corrupted() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    let url = emulator.resource_url();
    let send = async |fault| {
        emulator.inject(fault);
        client.send(bound_request(&emulator)).await.unwrap().json()
    };

    let downgraded = send(Fault::downgrade_to_bearer()).await;
    assert_eq!(downgraded["token_type"], "Bearer");
    let token = downgraded["access_token"].as_str().unwrap();
    let answer = client.send(authorized(url, "Bearer", token)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["bound"]), (200, &json!(false)));

    let wrong = send(Fault::wrong_cnf()).await;
    assert_eq!(wrong["token_type"], "mtls_pop");
    let answer =
        client.send(authorized(url, "mtls_pop", wrong["access_token"].as_str().unwrap())).await.unwrap();
    assert_eq!(answer.json()["reason"], "certificate_mismatch");

    let untyped = send(Fault::without_token_type(Step::Token)).await;
    assert!(untyped.get("token_type").is_none() && untyped["access_token"].is_string());
    let empty = send(Fault::without_access_token(Step::Token)).await;
    assert!(empty.get("access_token").is_none() && empty["token_type"] == "mtls_pop");

    emulator.inject(Fault::without_access_token(Step::ImdsToken));
    let body = client.send(v1_token_request(&emulator, RESOURCE)).await.unwrap().json();
    assert!(body.get("access_token").is_none() && body["token_type"] == "Bearer");
}

#[tokio::test]
async fn server_header_is_omitted() {
    let emulator = Emulator::start().await.unwrap();
    emulator.inject(Fault::without_server_header(Step::PlatformMetadata));
    let answer = Client::new(&emulator, None).send(platform_request(&emulator)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("server")), (200, false));
}

#[tokio::test]
async fn certificate_fault_changes_one_property() {
    let start = 1_900_000_000;
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(start));
    let emulator = Emulator::builder().clock(SharedClock::new(clock)).start().await.unwrap();
    let key = Key::p256();
    let csr = csr(&emulator, &key).await.base64();
    let day = 24 * 60 * 60;
    for (fault, expected) in [
        (None, (true, -300, 14 * day, Some(7 * day))),
        (Some(CertificateFault::WrongKey), (false, -300, 14 * day, Some(7 * day))),
        (Some(CertificateFault::Expired), (true, -3600 - 14 * day, -3600, Some(7 * day))),
        (Some(CertificateFault::NotYetValid), (true, 3600, 3600 + 14 * day, Some(7 * day))),
        (Some(CertificateFault::Lifetime(Duration::from_secs(90))), (true, -300, 90, Some(7 * day))),
        (Some(CertificateFault::TokenNotAfter(Duration::from_secs(60))), (true, -300, 14 * day, Some(60))),
        (Some(CertificateFault::WithoutTokenNotAfter), (true, -300, 14 * day, None)),
    ] {
        if let Some(fault) = fault {
            emulator.inject(Fault::certificate(fault));
        }
        let answer = issue(&emulator, &csr).await.json();
        let der = Base64::decode_vec(answer["certificate"].as_str().unwrap()).unwrap();
        let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let relative = |timestamp: i64| timestamp - start as i64;
        let issued = emulator.issued().pop().unwrap();
        let token_not_after = issued
            .token_not_after
            .map(|until| relative(until.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64));
        let found = (
            certificate.public_key().raw == key.spki(),
            relative(certificate.validity().not_before.timestamp()),
            relative(certificate.validity().not_after.timestamp()),
            token_not_after,
        );
        assert_eq!(found, expected, "{fault:?}");
        let has_extension =
            certificate.extensions().iter().any(|one| one.oid.to_id_string() == "1.3.6.1.4.1.311.90.2.1");
        assert_eq!(has_extension, token_not_after.is_some());
    }

    let issue_with = async |fault| {
        emulator.inject(Fault::certificate(fault));
        issue(&emulator, &csr).await.json()
    };
    let der =
        |answer: &serde_json::Value| Base64::decode_vec(answer["certificate"].as_str().unwrap()).unwrap();
    let garbage = der(&issue_with(CertificateFault::Garbage).await);
    assert!(X509Certificate::from_der(&garbage).is_err());
    let trailing = der(&issue_with(CertificateFault::TrailingData).await);
    assert_eq!(X509Certificate::from_der(&trailing).unwrap().0, [0]);
    let other = issue_with(CertificateFault::OtherClientId).await;
    assert_ne!(other["client_id"], platform_metadata(&emulator).await["clientId"]);
    let insecure = issue_with(CertificateFault::InsecureEndpoint).await;
    assert!(insecure["mtls_authentication_endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"));
}
