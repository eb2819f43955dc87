//! What is said when there is no token.

use symbolon::parts::transport::{TransportError, TransportErrorKind};
use symbolon::{Error, ErrorKind};
use symbolon_emulator::{Fault, Source};

use crate::lab::{Lab, RESOURCE, Scripted, answer, answer_with, step};

/// An error body as the source writes it, and what of it must be told.
fn native(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::AppService | Source::MachineLearning => (
            r#"{"statusCode":500,"message":"An unexpected error occured","correlationId":"7d0c9763-ff1d-4842-a3f3-6d49e64f4513"}"#,
            "correlation id: 7d0c9763-ff1d-4842-a3f3-6d49e64f4513",
        ),
        Source::CloudShell => (
            r#"{"error":{"code":"AudienceNotSupported","message":"Audience user.read is not supported"}}"#,
            "AudienceNotSupported",
        ),
        Source::ServiceFabric => (
            r#"{"error":{"correlationId":"7d0c9763-ff1d-4842-a3f3-6d49e64f4513","code":"SecretHeaderNotFound","message":"Secret is not found"}}"#,
            "correlation id: 7d0c9763-ff1d-4842-a3f3-6d49e64f4513",
        ),
        _ => (
            r#"{"error":"invalid_resource","error_description":"AADSTS500011: not found","error_codes":[500011],"timestamp":"x"}"#,
            "AADSTS500011",
        ),
    }
}

fn is_failure_of(error: &Error, source: Source, status: u16) {
    assert_eq!(error.code(), "managed_identity_request_failed", "{source}");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Service, Some(status)), "{source}");
    assert!(error.to_string().contains(&source.to_string()), "{source}: {error}");
    assert!(!error.advice().is_empty() && error.correlation_id().is_some(), "{source}");
}

/// NET-11, NET-13, DEV-9.
#[test]
fn a_refusal_tells_the_source_the_status_and_what_the_service_said() {
    for source in Source::ALL {
        let (body, expected) = native(source);
        let asked = Scripted::as_set_up(source, vec![answer(500, body)], |builder| builder.without_retries());
        let error = asked.outcome.unwrap_err();
        is_failure_of(&error, source, 500);
        assert!(
            error.excerpt().is_some_and(|said| said.contains(expected)),
            "{source}: {:?}",
            error.excerpt()
        );
        assert!(!error.to_string().contains(body), "what a service says is not part of our sentence");
        assert!(error.is_transient());
    }
}

/// NET-15.
#[test]
fn a_refusal_without_a_word_says_so() {
    for source in Source::ALL {
        let asked = Scripted::ask(source, (0..4).map(|_| answer(500, "")).collect());
        assert_eq!(asked.transport.answers_left(), 0, "{source}");
        let error = asked.outcome.unwrap_err();
        is_failure_of(&error, source, 500);
        assert!(error.excerpt().is_none_or(str::is_empty));
    }
}

/// NET-16, NET-29, GO-07, H-15, H-26, §7.7.5.
#[test]
fn a_success_without_a_usable_token_is_refused() {
    for source in Source::ALL {
        for body in [
            "",
            "{}",
            "null",
            r#"{"access_token":"","expires_in":"3600"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","expires_in":"0"}"#,
            r#"{"access_token":"t","expires_on":"1699999999"}"#,
            r#"{"access_token":"t","expires_in":"3600""#,
        ] {
            let asked = Scripted::ask(source, vec![answer(200, body)]);
            let error = asked.outcome.unwrap_err();
            assert_eq!((error.code(), error.status()), ("invalid_response", Some(200)), "{source} {body}");
            assert_eq!(error.kind(), ErrorKind::Response);
            assert!(error.to_string().contains(&source.to_string()), "{error}");
        }
        // A short life is a life, and neither type nor resource need be said.
        for body in [
            r#"{"access_token":"t","expires_on":1700000300}"#,
            r#"{"access_token":"t","expires_on":"1700007200","resource":"x","token_type":"Bearer"}"#,
        ] {
            let token = Scripted::ask(source, vec![answer(200, body)]).outcome.unwrap();
            assert_eq!(token.token_type(), "Bearer", "{source}");
        }
    }
}

/// NET-17: one attempt, except at the metadata service.
#[test]
fn a_source_that_cannot_be_reached_is_said_to_be() {
    for source in Source::ALL {
        for kind in [TransportErrorKind::Connect, TransportErrorKind::Tls] {
            let failed = || Err(TransportError::new(kind).with_source("the cause"));
            let asked = Scripted::ask(source, (0..9).map(|_| failed()).collect());
            let sent = asked.sent();
            let error = asked.outcome.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("managed_identity_unreachable", ErrorKind::Network));
            let cause = std::error::Error::source(&error).unwrap();
            assert_eq!(cause.source().unwrap().to_string(), "the cause", "{source}");
            let retried = source == Source::Imds && kind == TransportErrorKind::Connect;
            assert_eq!(sent, if retried { 4 } else { 1 }, "{source} {kind:?}");
        }
    }
}

/// GO-22, IMDS-05, and the last sentence of §2.6: whose 400 it is.
#[tokio::test]
async fn every_status_is_kept_and_a_400_is_not_taken_for_an_identity_that_is_missing() {
    let lab = Lab::new().await;
    for source in Source::ALL {
        for (status, body) in [
            (400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#),
            (404, ""),
            (501, ""),
            (503, r#"{"error":""}"#),
        ] {
            lab.emulator.inject(Fault::status(step(source), status).body(body));
            let identity = lab.builder(source).without_retries().build().unwrap();
            let error = identity.token(RESOURCE).await.unwrap_err();
            is_failure_of(&error, source, status);
            assert!(!error.to_string().contains("not assigned"), "{error}");
        }
    }
}

/// Users' requirement 15: a proxy in front of the metadata service.
#[test]
fn a_400_that_is_not_from_the_metadata_service_says_nothing_about_identities() {
    let as_sent_by = |server: Option<&str>| {
        let headers: Vec<_> = server.map(|server| ("server", server)).into_iter().collect();
        let asked = Scripted::ask(Source::Imds, vec![answer_with(400, &headers)]);
        assert_eq!(asked.sent(), 1);
        asked.outcome.unwrap_err().to_string()
    };
    for server in [None, Some("nginx"), Some("squid/6.1")] {
        let told = as_sent_by(server);
        assert!(told.contains("the answer did not come from the metadata service"), "{told}");
        assert!(!told.contains("assigned") && !told.contains("identity"), "{told}");
    }
    let told = as_sent_by(Some("IMDS/150.870.65.1854"));
    assert!(told.contains("check that the managed identity is assigned to this machine"), "{told}");
}

/// DEV-3: a body over 1 MiB.
#[tokio::test]
async fn an_endless_answer_is_refused() {
    let lab = Lab::new().await;
    for source in [Source::AppService, Source::CloudShell, Source::ServiceFabric] {
        lab.emulator.inject(Fault::oversized_body(step(source)));
        let error = lab.on(source).token(RESOURCE).await.unwrap_err();
        assert_eq!(error.code(), "response_too_large", "{source}");
    }
}
