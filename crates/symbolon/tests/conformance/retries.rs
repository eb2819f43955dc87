//! Retries and their delays. The tests advance a manual clock instead of waiting.

use futures_util::FutureExt;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::transport::transport_fn;
use symbolon::parts::types::ManualClock;
use symbolon::{
    Context, Env, Error, ManagedIdentity, ManagedIdentityId, ManagedIdentityRequest, SharedClock,
    SoftwareKeys, Token,
};
use symbolon_emulator::{Fault, Source};

use crate::test_env::{
    RESOURCE, ScriptedRun, SourceTestEnv, VAULT, answer, answer_with, step, token, variables,
};

fn statuses(
    statuses: &[u16],
) -> Vec<Result<symbolon::parts::transport::Response, symbolon::parts::transport::TransportError>> {
    statuses.iter().map(|status| if *status == 200 { token() } else { answer(*status, "") }).collect()
}

fn others() -> impl Iterator<Item = Source> {
    Source::ALL.into_iter().filter(|source| *source != Source::Imds)
}

/// The rules are in docs/protocol/sources.md#retries.
#[test]
fn imds_is_retried_by_its_own_rules() {
    for id in [ManagedIdentityId::system_assigned(), ManagedIdentityId::client_id("1").unwrap()] {
        for (case, answers, sent, waits, succeeds) in [
            ("404", &[404, 404, 200][..], 3, &[1.0, 2.0][..], true),
            ("410, success", &[410, 410, 410, 410, 200], 5, &[10.0; 4], true),
            ("410", &[410; 9], 8, &[10.0; 7], false),
            ("504", &[504; 9], 4, &[1.0, 2.0, 4.0], false),
            ("400", &[400; 9], 1, &[], false),
            ("404, then 410", &[404, 410, 410, 410, 410], 4, &[1.0, 10.0, 10.0], false),
            (
                "410, then 500",
                &[410, 500, 500, 500, 500, 500, 500, 500, 500],
                8,
                &[10.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0],
                false,
            ),
            ("500, success", &[500, 200], 2, &[1.0], true),
            ("408", &[408, 429, 599, 500, 200], 4, &[1.0, 2.0, 4.0], false),
        ] {
            let run = ScriptedRun::with_builder(Source::Imds, statuses(answers), |builder| {
                builder.identity(id.clone())
            });
            assert_eq!((run.sent(), run.waits.as_slice()), (sent, waits), "{case}");
            assert_eq!(run.result.is_ok(), succeeds, "{case}");
            if let Ok(token) = run.result {
                assert_eq!(token.attempts(), sent, "{case}");
            }
        }
    }
    // The service's own delays apply even if it sends `Retry-After`.
    let busy = vec![answer_with(429, &[("retry-after", "7")]), token()];
    assert_eq!(ScriptedRun::new(Source::Imds, busy).waits, [1.0]);
}

/// The rules are in docs/protocol/sources.md#retries.
#[test]
fn other_sources_are_retried_three_times() {
    let user_assigned = |source| match source {
        Source::AppService | Source::MachineLearning => Some(ManagedIdentityId::client_id("1").unwrap()),
        Source::ServiceFabric => Some(ManagedIdentityId::object_id("1").unwrap()),
        _ => None,
    };
    for source in others() {
        for id in [Some(ManagedIdentityId::system_assigned()), user_assigned(source)].into_iter().flatten() {
            let ask = |answers: &[u16]| {
                ScriptedRun::with_builder(source, statuses(answers), |builder| builder.identity(id.clone()))
            };
            let once = ask(&[500, 200]);
            assert_eq!((once.sent(), once.waits.as_slice()), (2, &[1.0][..]), "{source}");
            assert!(once.result.is_ok());
            for status in [404, 408, 429, 500, 502, 503, 504] {
                let forever = ask(&[status; 9]);
                assert_eq!(
                    (forever.sent(), forever.waits.as_slice()),
                    (4, &[1.0; 3][..]),
                    "{source} {status}"
                );
                assert_eq!(forever.result.unwrap_err().status(), Some(status));
            }
            for status in [400, 403, 410, 501] {
                assert_eq!(ask(&[status; 9]).sent(), 1, "{source} {status}");
            }
        }
    }
}

/// A sidecar opens its port after the program has started.
#[tokio::test]
async fn source_that_starts_later_is_awaited() {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    for (endpoint, secret) in [
        ("IDENTITY_ENDPOINT", Some("IDENTITY_HEADER")),
        ("MSI_ENDPOINT", Some("MSI_SECRET")),
        ("MSI_ENDPOINT", None),
    ] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let env =
            [(endpoint, format!("http://{address}/token")), ("DEFAULT_IDENTITY_CLIENT_ID", "1".to_owned())];
        let env = env.into_iter().chain(secret.map(|name| (name, "s3cr3t".to_owned()))).collect();
        let manual_clock = ManualClock::new();
        let context = Context::default().with_env(env).with_clock(&manual_clock);
        let identity = ManagedIdentity::builder().context(context).build().unwrap();
        let mut future = identity.token(RESOURCE).into_future();
        // The port refuses the first attempt.
        let clock = SharedClock::system();
        let pause = || clock.sleep(Duration::from_millis(200));
        let early = tokio::select! { result = &mut future => Some(result), () = pause() => None };
        assert!(early.is_none(), "{endpoint} {early:?}");
        let listener = TcpListener::bind(address).unwrap();
        let server = std::thread::spawn(move || {
            // The first connection is reset, because the client's bytes are not read.
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            drop(stream);
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _length = stream.read(&mut head).unwrap();
            let body = r#"{"access_token":"t","expires_in":"3600"}"#;
            let length = body.len();
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(response.as_bytes()).unwrap();
        });
        let token = loop {
            tokio::select! {
                result = &mut future => break result.unwrap(),
                () = pause() => manual_clock.advance(Duration::from_secs(1)),
            }
        };
        assert_eq!((token.secret().expose(), token.attempts()), ("t", 3), "{endpoint}");
        server.join().unwrap();
    }
}

#[test]
fn retry_after_is_honored_up_to_a_minute() {
    // 1700000000 is Tue, 14 Nov 2023 22:13:20 GMT.
    for source in others() {
        for (retry_after, waits) in [
            (None, &[1.0][..]),
            (Some("3"), &[3.0]),
            (Some("2.5"), &[2.5]),
            (Some("0"), &[1.0]),
            (Some("Tue, 14 Nov 2023 22:13:23 GMT"), &[3.0]),
            (Some("Tue, 14 Nov 2023 22:00:00 GMT"), &[1.0]),
            (Some("soon"), &[1.0]),
            (Some("60"), &[60.0]),
            (Some("61"), &[]),
        ] {
            let headers: Vec<_> = retry_after.map(|value| ("retry-after", value)).into_iter().collect();
            let scripted = ScriptedRun::new(source, vec![answer_with(500, &headers), token()]);
            assert_eq!(scripted.waits, waits, "{source} {retry_after:?}");
            match scripted.result {
                Ok(_) => {}
                Err(error) => assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(61)),
            }
        }
    }
}

#[tokio::test]
async fn every_request_has_its_own_retries() {
    let test_env = SourceTestEnv::new().await;
    for source in Source::ALL {
        test_env.emulator.inject(Fault::status(step(source), 504).always());
        let identity = test_env.on(source);
        for round in 1..=3 {
            assert_eq!(identity.token(RESOURCE).await.unwrap_err().status(), Some(504));
            assert_eq!(test_env.request_count(source), 4 * round, "{source}");
        }
    }
}

/// Callers that repeat a refused request would use up the requests that the host allows.
#[tokio::test]
async fn refusal_is_remembered_for_a_pause() {
    let test_env = SourceTestEnv::new().await;
    for source in Source::ALL {
        test_env.emulator.inject(Fault::status(step(source), 400).always());
        let identity = test_env.on(source);
        let mut sent_at = Vec::new();
        for second in 0..100 {
            for _ in 0..3 {
                let before = test_env.request_count(source);
                let error = identity.token(RESOURCE).await.unwrap_err();
                assert_eq!((error.status(), error.is_transient()), (Some(400), false), "{source}");
                let is_sent = test_env.request_count(source) > before;
                assert_eq!(error.retry_after().is_none(), is_sent, "{source} {second}");
                sent_at.extend(is_sent.then_some(second));
            }
            test_env.manual_clock.advance(std::time::Duration::from_secs(1));
        }
        assert_eq!(sent_at, [0, 1, 3, 7, 15, 31, 61, 91], "{source}");
        // Another request and a caller that insists do not wait.
        let before = test_env.request_count(source);
        assert_eq!(identity.token(VAULT).await.unwrap_err().retry_after(), None, "{source}");
        assert_eq!(identity.token(RESOURCE).force_refresh().await.unwrap_err().retry_after(), None);
        assert_eq!(test_env.request_count(source), before + 2, "{source}");
    }
}

#[test]
fn retries_can_be_switched_off() {
    for source in Source::ALL {
        for status in [404, 410, 500] {
            let run = ScriptedRun::with_builder(source, statuses(&[status; 9]), |builder| {
                builder.without_retries()
            });
            assert_eq!((run.sent(), run.waits.len()), (1, 0), "{source} {status}");
            assert_eq!(run.result.unwrap_err().status(), Some(status));
        }
    }
}

/// Runs a request without a response, with a deadline in seconds. Returns the result and the waits.
fn without_response(source: Source, deadline: u64) -> (Result<Token, Error>, Vec<f64>) {
    let manual_clock = ManualClock::new();
    let capabilities = symbolon::parts::transport::Capabilities::none().with_pinned_servers();
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(variables(source)).with_clock(&manual_clock))
        .deadline(std::time::Duration::from_secs(deadline))
        .transport(transport_fn(|_| std::future::pending()).with_capabilities(capabilities))
        .build()
        .unwrap();
    crate::test_env::drive(identity.token(RESOURCE), &manual_clock)
}

#[test]
fn slow_attempt_is_retried_then_times_out() {
    for source in Source::ALL {
        let (outcome, waits) = without_response(source, 1000);
        let error = outcome.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("timeout", true), "{source}");
        let expected: &[f64] = match source {
            Source::Imds => &[10.0, 1.0, 10.0, 2.0, 10.0, 4.0, 10.0],
            _ => &[30.0, 1.0, 30.0, 1.0, 30.0, 1.0, 30.0],
        };
        assert_eq!(waits, expected, "{source}");
    }
}

/// No variable names a source, and no packet is answered, as on a laptop: one probe, no retries.
#[test]
fn machine_without_source_fails_at_once() {
    type Kind = for<'a> fn(ManagedIdentityRequest<'a>) -> ManagedIdentityRequest<'a>;
    let kinds: [Kind; 3] =
        [|request| request, |request| request.proof_of_possession(), |request| request.over_mtls()];
    for kind in kinds {
        let manual_clock = ManualClock::new();
        let capabilities = symbolon::parts::transport::Capabilities::none().with_client_certificates();
        let identity = ManagedIdentity::builder()
            .context(Context::default().with_env(Env::empty()).with_clock(&manual_clock))
            .key_provider(SoftwareKeys::p256())
            .transport(transport_fn(|_| std::future::pending()).with_capabilities(capabilities))
            .build()
            .unwrap();
        let (outcome, waits) = crate::test_env::drive(kind(identity.token(RESOURCE)), &manual_clock);
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "managed_identity_unreachable", "{error}");
        assert!(error.to_string().contains("no variable names a managed identity source"), "{error}");
        assert_eq!(waits, [1.0]);
    }
}

#[test]
fn acquisition_ends_at_its_deadline() {
    for source in Source::ALL {
        let (outcome, waits) = without_response(source, 5);
        assert_eq!(waits, [5.0], "{source}");
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "timeout");
        assert!(error.to_string().contains(&source.to_string()), "{error}");
    }
}

/// No sleeper and no request remain.
#[test]
fn dropped_request_leaves_nothing_behind() {
    for source in Source::ALL {
        let manual_clock = ManualClock::new();
        let transport = ScriptedTransport::new(statuses(&[500; 9]));
        let identity = ManagedIdentity::builder()
            .context(Context::default().with_env(variables(source)).with_clock(&manual_clock))
            .transport(transport.clone())
            .build()
            .unwrap();
        let mut future = identity.token(RESOURCE).into_future();
        assert!((&mut future).now_or_never().is_none());
        assert!(manual_clock.sleepers() > 0, "{source}");
        drop(future);
        assert_eq!(manual_clock.sleepers(), 0, "{source}");
        while manual_clock.advance_to_next().is_some() {}
        assert_eq!(transport.requests().len(), 1, "{source}");
    }
}

#[test]
fn retries_send_the_whole_form() {
    let run = ScriptedRun::new(Source::CloudShell, statuses(&[500, 500, 500, 200]));
    assert!(run.result.is_ok());
    let requests = run.transport.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.body() == "resource=https%3A%2F%2Fmanagement.azure.com"));
}

#[tokio::test]
async fn malformed_error_body_is_retried() {
    let test_env = SourceTestEnv::new().await;
    for source in Source::ALL {
        test_env.emulator.inject(Fault::status(step(source), 500).body("<html>").times(2));
        assert_eq!(test_env.on(source).token(RESOURCE).await.unwrap().token_type(), "Bearer", "{source}");
    }
}
