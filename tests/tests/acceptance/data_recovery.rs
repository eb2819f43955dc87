//! DATA: requests that are sent again, and requests that are not.

use std::time::Duration;

use http::{Method, StatusCode};
use symbolon::BearerFallback;
use symbolon_emulator::{EmulatorBuilder, Fault, Server, Step, TlsVersion};
use symbolon_token::claims_challenge;

use crate::data::{client, connections};
use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;

#[tokio::test]
async fn data_07_claims_challenge_is_answered_once() {
    let test_env = TestEnv::new().await;
    let client = client(&test_env, None).proof_of_possession().build().unwrap();
    let url = test_env.emulator.resource_url();
    client.get(url).send().await.unwrap();
    let certificate = test_env.last_certificate();

    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    let response = client.post(url).body("small").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (2, 3));
    assert!(test_env.last_token_request().form("claims").is_some());
    assert_eq!(test_env.last_certificate(), certificate, "a challenge mints nothing");
    // The new token has replaced the challenged one.
    client.get(url).send().await.unwrap();
    assert_eq!(test_env.counts().tokens, 2);

    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS).times(2));
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.claims_challenge().as_deref(), Some(CLAIMS));
    let error = response.error_for_status().unwrap_err();
    assert_eq!((error.code(), error.claims()), ("resource_refused", Some(CLAIMS)));
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (3, 6));

    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    test_env.emulator.inject(Fault::oauth_error("interaction_required", &[53_003]));
    let error = client.get(url).send().await.unwrap_err();
    assert_eq!(error.code(), "interaction_required", "the error of the token service");
}

// The new certificate needs another token, which must have the claims as well.
#[tokio::test]
async fn data_07_claims_outlive_the_certificate() {
    let test_env = TestEnv::new().await;
    let connections = connections(&test_env, None).http2(false).max_idle_connections(0).build().unwrap();
    let client = client(&test_env, None).proof_of_possession().connections(connections).build().unwrap();
    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS).until_satisfied());
    let accepted = Fault::delay(Step::Handshake, Duration::ZERO);
    for handshake in [accepted, Fault::refuse_certificate()] {
        test_env.emulator.inject(handshake.at_server(Server::Resource));
    }
    let response = client.post(test_env.emulator.resource_url()).body("small").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((test_env.counts().issuances, test_env.count(Step::Resource)), (2, 2));
    assert!(test_env.last_token_request().form("claims").is_some());
}

#[tokio::test]
async fn data_07_challenge_without_an_answer_is_returned() {
    let test_env = TestEnv::new().await;
    // A bearer token of the metadata service takes no claims.
    let client = client(&test_env, None).build().unwrap();
    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    let response = client.get(test_env.emulator.resource_url()).send().await.unwrap();
    assert_eq!(response.claims_challenge().as_deref(), Some(CLAIMS));
    assert_eq!(test_env.count(Step::Resource), 1);
}

#[tokio::test]
async fn refusal_has_id_and_description() {
    let test_env = TestEnv::new().await;
    let client = client(&test_env, None).build().unwrap();
    let id = "751a212b-4003-416e-b600-e1f48e40db9f";
    let challenge = r#"Bearer error="invalid_token", error_description="wrong audience""#;
    let fault = Fault::status(Step::Resource, 401).header("x-ms-request-id", id);
    test_env.emulator.inject(fault.header("www-authenticate", challenge).header("retry-after", "7"));
    let response = client.get(test_env.emulator.resource_url()).send().await.unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.correlation_id().map(|id| id.to_string()).as_deref(), Some(id));
    assert_eq!(
        (error.excerpt(), error.retry_after()),
        (Some("wrong audience"), Some(Duration::from_secs(7)))
    );
}

#[tokio::test]
async fn data_08_large_body_is_not_replayed() {
    let test_env = TestEnv::new().await;
    let client = client(&test_env, None).proof_of_possession().replay_limit(4).build().unwrap();
    for (body, status, count) in [("four", 200, 2), ("more than four", 401, 1)] {
        let before = test_env.count(Step::Resource);
        test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
        let response = client.post(test_env.emulator.resource_url()).body(body).send().await.unwrap();
        assert_eq!((response.status().as_u16(), test_env.count(Step::Resource) - before), (status, count));
        let claims = claims_challenge(response.headers());
        assert_eq!(claims.as_deref(), (status == 401).then_some(CLAIMS));
    }
    assert_eq!(test_env.counts().tokens, 2, "no token for claims that cannot be answered");
}

// The body exceeds the limit while the new token is requested.
#[tokio::test]
async fn data_08_upload_goes_on_during_challenge() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP2).await;
    let client = client(&test_env, Some(&server)).proof_of_possession().replay_limit(8).build().unwrap();
    for (second, is_replayed) in [("", true), ("more than the limit", false)] {
        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
        let before = (server.received().len(), test_env.counts().tokens);
        server.script([Reaction::Challenge]);
        let delay = Duration::from_secs(1);
        test_env.emulator.inject(Fault::delay(Step::Token, delay));
        let (parts, body) = crate::data::channel();
        let upload = client.post(server.url()).streaming_body(body).send();
        let call = tokio::spawn(upload);
        parts.send("first").await.unwrap();
        test_env.wait_until(|| test_env.counts().tokens > before.1).await;
        parts.send(second).await.unwrap();
        // Empty once the client has read the last part.
        drop(parts.reserve().await.unwrap());
        drop(parts);
        test_env.manual_clock.advance(delay);
        let response = call.await.unwrap().unwrap();
        let expected = if is_replayed { (200, 2) } else { (401, 1) };
        assert_eq!((response.status().as_u16(), server.received().len() - before.0), expected, "{second}");
        assert_eq!(response.claims_challenge().is_none(), is_replayed);
        if is_replayed {
            assert_eq!(response.text().await.unwrap(), "first");
        }
    }
}

async fn refused_certificate_is_replaced(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) {
    let test_env = TestEnv::with(setup).await;
    // A reset HTTP/2 connection can look open for a moment, and a POST on it be lost.
    let connections = connections(&test_env, None).http2(false).build().unwrap();
    let client = client(&test_env, None).proof_of_possession().connections(connections).build().unwrap();
    let url = test_env.emulator.resource_url();
    client.get(url).send().await.unwrap();

    let refuse = || {
        let certificate = test_env.last_certificate();
        test_env.emulator.reject_in_tls(certificate);
        test_env.emulator.reset_connections_of(certificate);
        certificate
    };
    let first = refuse();
    // The refusal is an alert, so even a POST is sent again.
    let response = client.post(url).body("small").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_ne!(test_env.last_certificate(), first);
    assert_eq!((test_env.counts().issuances, test_env.count(Step::Resource)), (2, 2));

    refuse();
    let error = client.get(url).send().await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("certificate_refused_by_resource", symbolon::ErrorKind::Credential)
    );
    assert_eq!(test_env.counts().issuances, 2, "no mint within the pause");
    test_env.manual_clock.advance(Duration::from_secs(301));
    assert_eq!(client.get(url).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(test_env.counts().issuances, 3);
}

#[tokio::test]
async fn data_09_refused_certificate_is_replaced() {
    refused_certificate_is_replaced(|emulator| emulator).await;
}

#[tokio::test]
async fn data_09_refusal_within_the_handshake() {
    refused_certificate_is_replaced(|emulator| emulator.tls_version(TlsVersion::V1_2)).await;
}

#[tokio::test]
async fn data_09_fixed_certificate_has_no_successor() {
    let test_env = TestEnv::new().await;
    let identity = test_env.certificate();
    let tokens = test_env.certificate_client(identity.clone());
    let connections = connections(&test_env, None).build().unwrap();
    let client = symbolon::Client::builder(tokens, symbolon_tests::RESOURCE).proof_of_possession();
    let client = client.connections(connections).build().unwrap();
    client.get(test_env.emulator.resource_url()).send().await.unwrap();
    test_env.emulator.reject_in_tls(identity.thumbprint());
    test_env.emulator.reset_connections_of(identity.thumbprint());
    let error = client.get(test_env.emulator.resource_url()).send().await.unwrap_err();
    assert_eq!(error.code(), "certificate_refused_by_resource");
}

#[tokio::test]
async fn data_11_delivered_request_is_not_repeated() {
    for tls in [HTTP1, HTTP2] {
        for is_bound in [false, true] {
            for keeps_connection in [false, true] {
                let test_env = TestEnv::new().await;
                let server = ResourceServer::start(tls).await;
                let client = client(&test_env, Some(&server));
                let client = if is_bound { client.proof_of_possession() } else { client };
                let client = client.build().unwrap();
                // A certificate that may have been refused is replaced.
                let most = 2 + usize::from(is_bound);
                for (method, reactions, expected) in [
                    (Method::POST, &[Reaction::Lose][..], Err(1)),
                    (Method::PATCH, &[Reaction::Lose], Err(1)),
                    (Method::GET, &[Reaction::Lose], Ok(2)),
                    (Method::PUT, &[Reaction::Lose], Ok(2)),
                    (Method::GET, &[Reaction::Lose; 9], Err(most)),
                ] {
                    let case = format!("{tls:?} {is_bound} {keeps_connection} {method} {reactions:?}");
                    if keeps_connection {
                        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
                    }
                    let before = server.received().len();
                    server.script(reactions.iter().copied());
                    let result = client.request(method.clone(), server.url()).body("small").send().await;
                    server.clear_script();
                    let count = server.received().len() - before;
                    match (result, expected) {
                        (Ok(response), Ok(expected)) => {
                            assert_eq!((response.status(), count), (StatusCode::OK, expected), "{case}");
                        }
                        (Err(error), Err(most)) => {
                            assert!((1..=most).contains(&count), "{case}: {count}");
                            let is_refusal = error.code() == "certificate_refused_by_resource";
                            assert!(is_refusal || error.code() == "transport_error", "{case}: {error:?}");
                            assert!(!is_refusal || is_bound && method.is_idempotent(), "{case}");
                            assert_eq!(error.is_transient(), method.is_idempotent() && !is_refusal, "{case}");
                        }
                        (result, expected) => panic!("{case}: {result:?}, not {expected:?}"),
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn data_12_unprocessed_request_is_sent_again() {
    for (reaction, received) in [(Reaction::RefuseStream, 2), (Reaction::GoAway, 1)] {
        for is_bound in [false, true] {
            let test_env = TestEnv::new().await;
            let server = ResourceServer::start(HTTP2).await;
            // On a new connection.
            let post = async || {
                let client = client(&test_env, Some(&server));
                let client = if is_bound { client.proof_of_possession() } else { client };
                client.build().unwrap().post(server.url()).body("small").send().await
            };
            server.script([reaction]);
            assert_eq!(post().await.unwrap().text().await.unwrap(), "small", "{reaction:?}");
            assert_eq!(server.received().len(), received, "{reaction:?}");
            // Three times, such as while the servers of a resource restart.
            server.script([reaction; 3]);
            assert_eq!(post().await.unwrap().text().await.unwrap(), "small", "{reaction:?}");
            server.script([reaction; 9]);
            let error = post().await.unwrap_err();
            assert_eq!((error.code(), error.is_transient()), ("transport_error", true), "{reaction:?}");
            server.clear_script();
        }
    }
}

#[tokio::test]
async fn data_24_reset_stream_may_be_processed() {
    for is_bound in [false, true] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(HTTP2).await;
        let client = client(&test_env, Some(&server));
        let client = if is_bound { client.proof_of_possession() } else { client };
        let client = client.build().unwrap();
        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
        for (method, count) in [(Method::POST, 1), (Method::GET, 2)] {
            let before = server.received().len();
            server.script([Reaction::ResetStream; 2]);
            let error = client.request(method.clone(), server.url()).send().await.unwrap_err();
            server.clear_script();
            assert_eq!(error.code(), "transport_error", "{method}: {error:?}");
            assert_eq!(error.is_transient(), method.is_idempotent(), "{method}");
            assert_eq!(server.received().len() - before, count, "{method}");
        }
        assert_eq!(client.get(server.url()).send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(server.accepted(), 1, "one reset concerns one stream");
        assert_eq!(test_env.counts().issuances, usize::from(is_bound), "a reset is no refusal");
    }
}

#[tokio::test]
async fn data_15_fallback_needs_policy_and_code() {
    for code in [392_196, 3_921_996] {
        let test_env = TestEnv::new().await;
        let url = test_env.emulator.resource_url();
        let refusal = || Fault::oauth_error("invalid_request", &[code]);
        test_env.emulator.inject(refusal());
        let strict = client(&test_env, None).proof_of_possession().build().unwrap();
        let error = strict.get(url).send().await.unwrap_err();
        assert_eq!(error.server_codes(), [u32::try_from(code).unwrap()]);
        assert_eq!(test_env.count(Step::Resource), 0);

        let policy = BearerFallback::WhereResourceTakesNoBoundTokens;
        let lenient = client(&test_env, None).proof_of_possession().bearer_fallback(policy).build().unwrap();
        test_env.emulator.inject(Fault::oauth_error("invalid_request", &[500_011]));
        assert_eq!(lenient.get(url).send().await.unwrap_err().server_codes(), [500_011]);

        test_env.emulator.inject(refusal());
        let response = lenient.get(url).send().await.unwrap();
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["scheme"], "Bearer");
        assert!(test_env.logs().contains("the resource takes no bound tokens"));
        let entry = test_env.emulator.journal();
        assert_eq!(entry.last(Step::Resource).unwrap().certificate(), None);

        let tokens = test_env.counts().tokens;
        lenient.get(url).send().await.unwrap();
        assert_eq!(test_env.counts().tokens, tokens, "remembered");
        test_env.manual_clock.advance(Duration::from_secs(3600));
        let response = lenient.get(url).send().await.unwrap();
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["bound"], true, "for an hour");
    }
}

#[tokio::test]
async fn data_17_server_must_request_the_certificate() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(ServerTls { requests_certificate: false, ..tls }).await;
        let bound = client(&test_env, Some(&server)).proof_of_possession().build().unwrap();
        let error = bound.get(server.url()).send().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("transport_error", symbolon::ErrorKind::Environment));
        assert!(error.to_string().contains("did not request the client certificate"), "{error}");
        assert_eq!(server.received().len(), 0, "no header was sent");
        let bearer = client(&test_env, Some(&server)).build().unwrap();
        assert_eq!(bearer.get(server.url()).send().await.unwrap().status(), StatusCode::OK);
    }
}
