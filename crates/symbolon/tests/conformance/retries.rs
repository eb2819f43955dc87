//! When a source is asked again, and after what time. No test waits: the clock is turned by hand.

use futures_util::FutureExt;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::transport::transport_fn;
use symbolon::parts::types::ManualClock;
use symbolon::{Context, Error, ManagedIdentity, ManagedIdentityId, Token};
use symbolon_emulator::{Fault, Source};

use crate::lab::{Lab, RESOURCE, Scripted, answer, answer_with, step, token, variables};

fn statuses(
    statuses: &[u16],
) -> Vec<Result<symbolon::parts::transport::Response, symbolon::parts::transport::TransportError>> {
    statuses.iter().map(|status| if *status == 200 { token() } else { answer(*status, "") }).collect()
}

fn others() -> impl Iterator<Item = Source> {
    Source::ALL.into_iter().filter(|source| *source != Source::Imds)
}

/// IMDS-01 to IMDS-05, GO-02, §7.7.1, X-04; for both kinds of identity.
#[test]
fn the_metadata_service_is_asked_again_as_its_table_says() {
    for id in [ManagedIdentityId::system_assigned(), ManagedIdentityId::client_id("1").unwrap()] {
        for (row, answers, sent, waits, succeeds) in [
            ("IMDS-01", &[404, 404, 200][..], 3, &[1.0, 2.0][..], true),
            ("IMDS-02", &[410, 410, 410, 410, 200], 5, &[10.0; 4], true),
            ("IMDS-03", &[410; 9], 8, &[10.0; 7], false),
            ("IMDS-04", &[504; 9], 4, &[1.0, 2.0, 4.0], false),
            ("IMDS-05", &[400; 9], 1, &[], false),
            ("7.7.1 first 404", &[404, 410, 410, 410, 410], 4, &[1.0, 10.0, 10.0], false),
            (
                "7.7.1 first 410",
                &[410, 500, 500, 500, 500, 500, 500, 500, 500],
                8,
                &[10.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0],
                false,
            ),
            ("GO-02", &[500, 200], 2, &[1.0], true),
            ("408", &[408, 429, 599, 500, 200], 4, &[1.0, 2.0, 4.0], false),
        ] {
            let asked =
                Scripted::as_set_up(Source::Imds, statuses(answers), |builder| builder.identity(id.clone()));
            assert_eq!((asked.sent(), asked.waits.as_slice()), (sent, waits), "{row}");
            assert_eq!(asked.outcome.is_ok(), succeeds, "{row}");
            if let Ok(token) = asked.outcome {
                assert_eq!(token.attempts(), sent, "{row}");
            }
        }
    }
    // It has its own table, whatever it asks for.
    let busy = vec![answer_with(429, &[("retry-after", "7")]), token()];
    assert_eq!(Scripted::ask(Source::Imds, busy).waits, [1.0]);
}

/// DR-01 to DR-05, NET-34, §3.1.
#[test]
fn every_other_source_is_asked_again_up_to_three_times_after_a_second() {
    let user_assigned = |source| match source {
        Source::AppService | Source::MachineLearning => Some(ManagedIdentityId::client_id("1").unwrap()),
        Source::ServiceFabric => Some(ManagedIdentityId::object_id("1").unwrap()),
        _ => None,
    };
    for source in others() {
        for id in [Some(ManagedIdentityId::system_assigned()), user_assigned(source)].into_iter().flatten() {
            let ask = |answers: &[u16]| {
                Scripted::as_set_up(source, statuses(answers), |builder| builder.identity(id.clone()))
            };
            let once = ask(&[500, 200]);
            assert_eq!((once.sent(), once.waits.as_slice()), (2, &[1.0][..]), "{source} DR-01");
            assert!(once.outcome.is_ok());
            for status in [404, 408, 429, 500, 503, 504] {
                let forever = ask(&[status; 9]);
                assert_eq!(
                    (forever.sent(), forever.waits.as_slice()),
                    (4, &[1.0; 3][..]),
                    "{source} {status}"
                );
                assert_eq!(forever.outcome.unwrap_err().status(), Some(status));
            }
            for status in [400, 403, 410, 501, 502] {
                assert_eq!(ask(&[status; 9]).sent(), 1, "{source} {status}");
            }
        }
    }
}

/// DR-03, X-04, DEV-12.
#[test]
fn what_a_source_asks_for_is_waited_for_within_a_minute() {
    // 1700000000 is Tue, 14 Nov 2023 22:13:20 GMT.
    for source in others() {
        for (asked, waits) in [
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
            let headers: Vec<_> = asked.map(|asked| ("retry-after", asked)).into_iter().collect();
            let scripted = Scripted::ask(source, vec![answer_with(500, &headers), token()]);
            assert_eq!(scripted.waits, waits, "{source} {asked:?}");
            match scripted.outcome {
                Ok(_) => {}
                Err(error) => assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(61)),
            }
        }
    }
}

/// IMDS-07, NET-34: what was tried once does not count for the next request.
#[tokio::test]
async fn every_request_has_its_own_retries() {
    let lab = Lab::new().await;
    for source in Source::ALL {
        lab.emulator.inject(Fault::status(step(source), 504).always());
        let identity = lab.on(source);
        for round in 1..=3 {
            assert_eq!(identity.token(RESOURCE).await.unwrap_err().status(), Some(504));
            assert_eq!(lab.asked(source), 4 * round, "{source}");
        }
    }
}

/// IMDS-06, DR-06.
#[test]
fn retries_can_be_switched_off() {
    for source in Source::ALL {
        for status in [404, 410, 500] {
            let asked =
                Scripted::as_set_up(source, statuses(&[status; 9]), |builder| builder.without_retries());
            assert_eq!((asked.sent(), asked.waits.len()), (1, 0), "{source} {status}");
            assert_eq!(asked.outcome.unwrap_err().status(), Some(status));
        }
    }
}

/// What comes of a request that nobody answers, within so many seconds, and what it waited for.
fn unanswered(source: Source, deadline: u64) -> (Result<Token, Error>, Vec<f64>) {
    let hands = ManualClock::new();
    let capabilities = symbolon::parts::transport::Capabilities::none().with_pinned_servers();
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(variables(source)).with_clock(&hands))
        .deadline(std::time::Duration::from_secs(deadline))
        .transport(transport_fn(|_| std::future::pending()).with_capabilities(capabilities))
        .build()
        .unwrap();
    crate::lab::drive(identity.token(RESOURCE), &hands)
}

/// §7.7.2, DEV-10.
#[test]
fn an_attempt_that_takes_too_long_is_made_again_and_is_a_timeout_in_the_end() {
    for source in Source::ALL {
        let (outcome, waits) = unanswered(source, 1000);
        let error = outcome.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("timeout", true), "{source}");
        let expected: &[f64] = match source {
            Source::Imds => &[10.0, 1.0, 10.0, 2.0, 10.0, 4.0, 10.0],
            _ => &[30.0, 1.0, 30.0, 1.0, 30.0, 1.0, 30.0],
        };
        assert_eq!(waits, expected, "{source}");
    }
}

/// All of it ends at the deadline, however patient the table is.
#[test]
fn an_acquisition_ends_at_its_deadline() {
    for source in Source::ALL {
        let (outcome, waits) = unanswered(source, 5);
        assert_eq!(waits, [5.0], "{source}");
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "timeout");
        assert!(error.to_string().contains(&source.to_string()), "{error}");
    }
}

/// §7.7.3, DEV-11, NET-28: whoever drops the request is done with it.
#[test]
fn a_request_that_is_given_up_while_it_waits_is_gone() {
    for source in Source::ALL {
        let hands = ManualClock::new();
        let transport = ScriptedTransport::new(statuses(&[500; 9]));
        let identity = ManagedIdentity::builder()
            .context(Context::default().with_env(variables(source)).with_clock(&hands))
            .transport(transport.clone())
            .build()
            .unwrap();
        let mut asking = identity.token(RESOURCE).into_future();
        assert!((&mut asking).now_or_never().is_none());
        assert!(hands.sleepers() > 0, "{source}");
        drop(asking);
        assert_eq!(hands.sleepers(), 0, "{source}");
        while hands.advance_to_next().is_some() {}
        assert_eq!(transport.requests().len(), 1, "{source}");
    }
}

/// §7.7.12, D-14, H-13.
#[test]
fn a_form_is_sent_whole_each_time() {
    let asked = Scripted::ask(Source::CloudShell, statuses(&[500, 500, 500, 200]));
    assert!(asked.outcome.is_ok());
    let requests = asked.transport.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.body() == "resource=https%3A%2F%2Fmanagement.azure.com"));
}

/// H-21: a body is not needed to know that an answer is worth a retry.
#[tokio::test]
async fn a_failure_whose_body_is_malformed_is_tried_again_like_any_other() {
    let lab = Lab::new().await;
    for source in Source::ALL {
        lab.emulator.inject(Fault::status(step(source), 500).body("<html>").times(2));
        assert_eq!(lab.on(source).token(RESOURCE).await.unwrap().token_type(), "Bearer", "{source}");
    }
}
