//! Calls of resources over the transport.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use symbolon_token::TokenClient;
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, TransportError, transport_fn};
use symbolon_types::{Context, ManualClock};

use crate::env::{client, issued, secret};

#[tokio::test]
async fn call_returns_the_resource_response() {
    let headers: HeaderMap = [(http::header::ETAG, HeaderValue::from_static("x"))].into_iter().collect();
    let answer = Ok(Response::new(StatusCode::NOT_FOUND, "no such secret").with_headers(headers));
    let transport = ScriptedTransport::new([issued("one"), answer]);
    let client = client(&transport);
    let token = client.token("a").await.unwrap();
    let request = http::Request::put("https://vault.example/secrets/x?api-version=7.4")
        .header("x-ms-date", "today")
        .header(AUTHORIZATION, "Basic old")
        .header(AUTHORIZATION, "Bearer older")
        .body(Bytes::from_static(b"value"))
        .unwrap();
    let response = client.call(&token, request).await.unwrap();
    assert_eq!(
        (response.status(), response.body().as_ref()),
        (StatusCode::NOT_FOUND, &b"no such secret"[..])
    );
    assert_eq!(response.headers()["etag"], "x");

    let sent = &transport.requests()[1];
    assert_eq!((sent.method().as_str(), sent.body().as_ref()), ("PUT", &b"value"[..]));
    assert_eq!(sent.url().as_str(), "https://vault.example/secrets/x?api-version=7.4");
    assert_eq!(sent.headers()["x-ms-date"], "today");
    let credentials: Vec<_> = sent.headers().get_all(AUTHORIZATION).iter().collect();
    assert_eq!(credentials, ["Bearer one"], "only the token");
}

#[tokio::test]
async fn call_ends_at_its_deadline() {
    let clock = ManualClock::new();
    let transport = transport_fn(|request: Request| async move {
        match request.url().host_str() {
            Some("login.example") => issued("one"),
            _ => std::future::pending().await,
        }
    });
    let context = Context::default().with_clock(&clock);
    let client = TokenClient::builder(secret(), transport).context(context).build();
    let token = client.token("a").await.unwrap();
    for (deadline, waited) in [(None, "60s"), (Some(Duration::from_secs(90)), "90s")] {
        let request = http::Request::get("https://vault.example/secrets/x").body(Bytes::new()).unwrap();
        let calling = async {
            match deadline {
                None => client.call(&token, request).await,
                Some(deadline) => client.call_within(&token, request, deadline).await,
            }
        };
        let mut calling = Box::pin(calling);
        assert!((&mut calling).now_or_never().is_none());
        clock.advance_to_next().expect("a deadline");
        let error = calling.now_or_never().unwrap().unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("timeout", true));
        let shown = error.to_string();
        assert!(shown.contains("vault.example:443") && shown.contains(waited), "{shown}");
    }
}

/// An error is transient only if the request may be sent again.
#[tokio::test]
async fn lost_call_is_transient_if_repeatable() {
    use symbolon_transport::TransportErrorKind as Kind;
    let unsent = TransportError::new(Kind::Interrupted).with_unprocessed(true);
    for (method, error, is_transient) in [
        ("GET", Kind::Interrupted.into(), true),
        ("PUT", Kind::Timeout.into(), true),
        ("POST", Kind::Interrupted.into(), false),
        ("POST", Kind::Timeout.into(), false),
        ("PATCH", Kind::Interrupted.into(), false),
        ("POST", Kind::Connect.into(), true),
        ("POST", unsent, true),
        ("POST", Kind::IdentityRejected.into(), false),
    ] {
        let transport = ScriptedTransport::new([issued("one"), Err(error.clone())]);
        let client = client(&transport);
        let token = client.token("a").await.unwrap();
        let request = http::Request::builder().method(method).uri("https://vault.example/secrets/x");
        let failed = client.call(&token, request.body(Bytes::new()).unwrap()).await.unwrap_err();
        assert_eq!(failed.is_transient(), is_transient, "{method} {error:?}");
        let is_warned = failed.advice().contains("has processed the request");
        assert_eq!(is_warned, error.is_transient() && !is_transient, "{method} {error:?}: {failed}");
        assert_eq!(transport.requests().len(), 2, "{method} {error:?}");
    }
}
