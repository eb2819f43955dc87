//! Error responses, and the pauses after them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use symbolon_token::{ClientAssertion, ErrorKind, SignedAssertion, TokenClient, TokenOrigin, assertion_fn};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::{Context, ManualClock, Secret};

use crate::env::{
    HttpResult, answer, application, busy, client, client_on, issued, refused_response, run_background_tasks,
};

#[tokio::test]
async fn only_status_200_is_a_success() {
    for status in [201, 202, 203, 204, 206, 307] {
        let good = issued("never").unwrap().body().clone();
        let transport = ScriptedTransport::new([answer(status, std::str::from_utf8(&good).unwrap())]);
        let client = client(&transport);
        let error = client.token("a").await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("invalid_response", Some(status)));
        assert!(client.cache().is_empty(), "{status}");
    }
}

/// Also in a response that is no OAuth error.
#[tokio::test]
async fn numbers_of_any_body_are_kept() {
    for (status, body, code, numbers, advice) in [
        (
            503,
            r#"{"error":{"code":"x","message":"AADSTS90033: later"}}"#,
            "temporarily_unavailable",
            &[90_033][..],
            "try again later",
        ),
        (400, r#"{"message":"AADSTS90002: no"}"#, "invalid_response", &[90_002], "check the tenant"),
        (400, r#"{"error":"x","error_description":"AADSTS90002: no"}"#, "x", &[90_002], "check the tenant"),
    ] {
        let error = client(&ScriptedTransport::new([answer(status, body)])).token("a").await.unwrap_err();
        assert_eq!((error.code(), error.server_codes()), (code, numbers), "{body}");
        assert!(error.advice().starts_with(advice), "{error}");
    }
}

/// The code, kind, transience, `Retry-After` seconds and excerpt of an error.
type ErrorFacts = (&'static str, ErrorKind, bool, Option<u64>, Option<&'static str>);

#[tokio::test]
async fn error_responses_are_classified() {
    let html = "<h1>Bad Gateway</h1>";
    let undescribed = answer(400, r#"{"error":"invalid_scope"}"#);
    let mistyped = answer(200, r#"{"token_type":"pop","access_token":"t","expires_in":1}"#);
    let rows: [(HttpResult, u16, ErrorFacts); 13] = [
        (
            refused_response(401, "invalid_client", 7_000_215),
            401,
            ("invalid_client", ErrorKind::Credential, false, None, Some("AADSTS7000215: no.")),
        ),
        (
            refused_response(400, "invalid_request", 1_000_901),
            400,
            ("invalid_request", ErrorKind::Credential, false, None, Some("AADSTS1000901: no.")),
        ),
        (
            refused_response(400, "invalid_scope", 70_011),
            400,
            ("invalid_scope", ErrorKind::Service, false, None, Some("AADSTS70011: no.")),
        ),
        (undescribed, 400, ("invalid_scope", ErrorKind::Service, false, None, None)),
        (
            refused_response(408, "timeout", 1),
            408,
            ("timeout", ErrorKind::Service, true, None, Some("AADSTS1: no.")),
        ),
        (
            busy(refused_response(429, "throttled", 50_196), 90),
            429,
            ("throttled", ErrorKind::Service, true, Some(90), Some("AADSTS50196: no.")),
        ),
        (
            refused_response(500, "server_error", 2),
            500,
            ("server_error", ErrorKind::Service, true, None, Some("AADSTS2: no.")),
        ),
        (answer(502, html), 502, ("temporarily_unavailable", ErrorKind::Service, true, None, Some(html))),
        (
            busy(answer(503, html), 7),
            503,
            ("temporarily_unavailable", ErrorKind::Service, true, Some(7), Some(html)),
        ),
        (answer(599, ""), 599, ("temporarily_unavailable", ErrorKind::Service, true, None, Some(""))),
        (
            answer(503, r#"{"error":{"code":"ServiceUnavailable","message":"later"}}"#),
            503,
            ("temporarily_unavailable", ErrorKind::Service, true, None, Some("ServiceUnavailable; later")),
        ),
        (answer(404, html), 404, ("invalid_response", ErrorKind::Service, false, None, Some(html))),
        (mistyped, 200, ("token_type_mismatch", ErrorKind::Response, false, None, None)),
    ];
    for (answer, status, expected) in rows {
        let error = client(&ScriptedTransport::new([answer])).token("a").await.unwrap_err();
        let retry_after = error.retry_after().map(|wait| wait.as_secs());
        let facts = (error.code(), error.kind(), error.is_transient(), retry_after, error.excerpt());
        assert_eq!((facts, error.status()), (expected, Some(status)));
    }
}

#[tokio::test]
async fn outage_says_to_try_later() {
    for (status, body) in [(503, ""), (429, "<h1>Too many</h1>"), (500, "{}"), (502, "[]"), (504, "null")] {
        let error = client(&ScriptedTransport::new([answer(status, body)])).token("a").await.unwrap_err();
        assert!(error.to_string().contains(&format!("not available (HTTP status {status})")), "{error}");
        assert!(error.advice().starts_with("try again later"), "{status}: {}", error.advice());
    }
}

#[tokio::test]
async fn refused_credential_waits_longer_each_time() {
    let manual_clock = ManualClock::new();
    let refused = || refused_response(401, "invalid_client", 7_000_215);
    let transport = ScriptedTransport::new((0..20).map(|_| refused()));
    let client = client_on(&manual_clock, &transport);
    for (sent, pause) in (1..).zip([1, 2, 4, 8, 16, 30, 30]) {
        let error = client.token("a").await.unwrap_err();
        assert_eq!((error.code(), transport.requests().len()), ("invalid_client", sent));
        manual_clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        for _ in 0..100 {
            let error = client.token("a").await.unwrap_err();
            assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[7_000_215][..]));
            assert_eq!(error.retry_after(), Some(Duration::from_millis(1)), "{pause}");
        }
        assert_eq!(transport.requests().len(), sent, "{pause}");
        manual_clock.advance(Duration::from_millis(1));
    }
    // Another key has a pause of its own, and a demand for a new token has none.
    client.token("b").await.unwrap_err();
    assert_eq!(transport.requests().len(), 8);
    client.token("a").await.unwrap_err();
    client.token("a").await.unwrap_err();
    assert_eq!(transport.requests().len(), 9);
    client.token("a").force_refresh().await.unwrap_err();
    assert_eq!(transport.requests().len(), 10);
    // The claims of a challenge do not change the credential.
    client.token("a").claims(r#"{"access_token":{}}"#).await.unwrap_err();
    assert_eq!(transport.requests().len(), 10);
    // A minute after the pause, it is short again.
    manual_clock.advance(Duration::from_secs(91));
    client.token("a").await.unwrap_err();
    manual_clock.advance(Duration::from_secs(1));
    client.token("a").await.unwrap_err();
    assert_eq!(transport.requests().len(), 12);
}

#[tokio::test]
async fn changed_credential_is_sent_at_once() {
    let refused = || refused_response(401, "invalid_client", 700_024);
    let transport = ScriptedTransport::new([refused(), refused(), issued("one")]);
    let jwt = |payload: &str| {
        let payload = Base64UrlUnpadded::encode_string(payload.as_bytes());
        format!("e30.{payload}.c2ln")
    };
    let assertion = Arc::new(Mutex::new(String::new()));
    let current = Arc::clone(&assertion);
    let source = assertion_fn(move |_| {
        let assertion = SignedAssertion::new(Secret::new(current.lock().unwrap().clone()));
        async { Ok(assertion) }
    });
    let client = TokenClient::builder(ClientAssertion::new(application(), source), transport.clone())
        .context(Context::default().with_clock(&ManualClock::new()))
        .build();
    for (payload, sent) in [
        (r#"{"sub":"a","exp":1,"jti":"1"}"#, 1),
        (r#"{"sub":"a","exp":1,"jti":"1"}"#, 1),
        // The next assertion of the same issuer about the same subject.
        (r#"{"sub":"a","exp":2,"jti":"2","iat":3,"nbf":4}"#, 1),
        (r#"{"sub":"b","exp":2}"#, 2),
    ] {
        *assertion.lock().unwrap() = jwt(payload);
        assert_eq!(client.token("a").await.unwrap_err().code(), "invalid_client");
        assert_eq!(transport.requests().len(), sent, "{payload}");
    }
    *assertion.lock().unwrap() = "opaque".to_owned();
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}

#[tokio::test]
async fn throttled_request_is_not_sent() {
    let manual_clock = ManualClock::new();
    let transport = ScriptedTransport::new([
        busy(refused_response(429, "throttled", 50_196), 30),
        issued("other"),
        issued("one"),
    ]);
    let client = client_on(&manual_clock, &transport);
    assert_eq!(client.token("a").await.unwrap_err().status(), Some(429));
    for left in [30, 20, 10] {
        let plain = client.token("a").await.unwrap_err();
        let forced = client.token("a").force_refresh().await.unwrap_err();
        for error in [plain, forced] {
            assert_eq!(
                (error.code(), error.retry_after()),
                ("throttled", Some(Duration::from_secs(left))),
                "{left}"
            );
        }
        assert_eq!(transport.requests().len(), 1 + usize::from(left < 30), "nothing was sent");
        if left == 30 {
            assert_eq!(client.token("b").await.unwrap().secret().expose(), "other", "another resource");
        }
        manual_clock.advance(Duration::from_secs(10));
    }
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}

#[tokio::test]
async fn throttling_lasts_one_hour_at_most() {
    let manual_clock = ManualClock::new();
    let transport = ScriptedTransport::new([
        busy(refused_response(503, "temporarily_unavailable", 1), 0),
        busy(refused_response(503, "temporarily_unavailable", 2), u64::MAX),
        issued("one"),
    ]);
    let client = client_on(&manual_clock, &transport);
    assert_eq!(client.token("a").await.unwrap_err().server_codes(), [1]);
    assert_eq!(client.token("a").await.unwrap_err().server_codes(), [2]);
    manual_clock.advance(Duration::from_secs(3599));
    assert_eq!(client.token("a").await.unwrap_err().server_codes(), [2]);
    assert_eq!(transport.requests().len(), 2);
    manual_clock.advance(Duration::from_secs(1));
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}

#[tokio::test]
async fn throttled_refresh_serves_the_token() {
    let manual_clock = ManualClock::new();
    let transport =
        ScriptedTransport::new([issued("one"), busy(refused_response(429, "throttled", 50_196), 60)]);
    let client = client_on(&manual_clock, &transport);
    let token = client.token("a").await.unwrap();
    manual_clock.set(token.refresh_on());
    assert_eq!(client.token("a").force_refresh().await.unwrap_err().status(), Some(429));
    let served = client.token("a").await.unwrap();
    assert_eq!((served.secret().expose(), served.origin()), ("one", TokenOrigin::Cache));
    run_background_tasks().await;
    assert_eq!(transport.requests().len(), 2, "due, but not refreshed while it is throttled");
}
