//! Requests that are sent again, and requests that are not.

use std::time::Duration;

use http::HeaderValue;
use http::header::RETRY_AFTER;
use symbolon_token::{AuthorizationCode, ClientSecret, TokenClient};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{TransportError, TransportErrorKind, transport_fn};
use symbolon_types::{Context, Env, ManualClock, Secret};

use crate::env::{HttpResult, about_user, at_endpoint, refused_response};

/// Failures after which the server may have processed the request.
fn ambiguous() -> Vec<HttpResult> {
    let lost = [TransportErrorKind::Interrupted, TransportErrorKind::Timeout].map(|kind| Err(kind.into()));
    let refused = [500, 502, 503, 504].map(|status| refused_response(status, "server_error"));
    lost.into_iter().chain(refused).collect()
}

/// Failures after which the server has not processed the request.
fn unprocessed() -> Vec<HttpResult> {
    let busy = |status| {
        let headers = [(RETRY_AFTER, HeaderValue::from_static("1"))].into_iter().collect();
        refused_response(status, "temporarily_unavailable").map(|response| response.with_headers(headers))
    };
    let reset = TransportError::new(TransportErrorKind::Interrupted).with_unprocessed(true);
    vec![
        Err(TransportErrorKind::Connect.into()),
        Err(reset),
        refused_response(408, "server_error"),
        refused_response(429, "temporarily_unavailable"),
        busy(503),
    ]
}

fn retrying_client(answers: impl IntoIterator<Item = HttpResult>) -> (TokenClient, ScriptedTransport) {
    let transport = ScriptedTransport::new(answers);
    let credential = ClientSecret::new(at_endpoint(), Secret::new("secret")).unwrap();
    let context = Context::default().with_env(Env::empty()).with_retry_scale(0.0);
    (TokenClient::builder(credential, transport.clone()).context(context).build(), transport)
}

fn code() -> AuthorizationCode {
    AuthorizationCode::new(Secret::new("code"), "https://app.example/signed-in")
}

#[tokio::test]
async fn code_is_sent_once() {
    for answer in ambiguous() {
        let (client, transport) = retrying_client([answer.clone(), about_user("never", None)]);
        let error = client.redeem_code(&code(), "api").await.unwrap_err();
        assert_eq!(transport.requests().len(), 1, "{answer:?}");
        assert!(!error.is_transient(), "{error}");
        assert!(error.advice().contains("sign in again"), "{error}");
    }
    for answer in unprocessed() {
        let (client, transport) = retrying_client([answer.clone(), answer.clone(), about_user("one", None)]);
        client.redeem_code(&code(), "api").await.unwrap();
        assert_eq!(transport.requests().len(), 3, "{answer:?}");
        let (client, _) = retrying_client(vec![answer.clone(); 3]);
        let error = client.redeem_code(&code(), "api").await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn refresh_token_is_sent_once() {
    for answer in ambiguous() {
        let (client, transport) = retrying_client([answer.clone(), about_user("never", None)]);
        let error = client.redeem_refresh_token(&Secret::new("rt"), "api").await.unwrap_err();
        assert_eq!(transport.requests().len(), 1, "{answer:?}");
        assert!(error.is_transient(), "a later request may try it: {error}");

        let sign_in = about_user("one", Some("rt"));
        let (client, transport) = retrying_client([sign_in, answer.clone(), about_user("two", None)]);
        client.start_session("session", &Secret::new("assertion"), "api").await.unwrap();
        client.session_token("session", "b").await.unwrap_err();
        assert_eq!(transport.requests().len(), 2, "{answer:?}");
        let token = client.session_token("session", "b").await.unwrap();
        assert_eq!(token.secret().expose(), "two", "the refresh token is kept");
    }
    for answer in unprocessed() {
        let (client, transport) = retrying_client([answer.clone(), answer.clone(), about_user("one", None)]);
        client.redeem_refresh_token(&Secret::new("rt"), "api").await.unwrap();
        assert_eq!(transport.requests().len(), 3, "{answer:?}");
    }
}

#[tokio::test]
async fn repeatable_grants_are_sent_again() {
    for answer in ambiguous().into_iter().chain(unprocessed()) {
        let answers = || [answer.clone(), answer.clone(), about_user("one", None)];
        let (client, transport) = retrying_client(answers());
        client.token("api").await.unwrap();
        assert_eq!(transport.requests().len(), 3, "{answer:?}");
        let (client, transport) = retrying_client(answers());
        client.on_behalf_of(&Secret::new("assertion"), "api").await.unwrap();
        assert_eq!(transport.requests().len(), 3, "{answer:?}");
    }
}

/// The time limit of the request may end an attempt that was delivered.
#[tokio::test]
async fn timeout_of_a_code_is_not_transient() {
    let manual_clock = ManualClock::new();
    let credential = ClientSecret::new(at_endpoint(), Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, transport_fn(|_| std::future::pending()))
        .context(Context::default().with_env(Env::empty()).with_clock(&manual_clock))
        .deadline(Duration::from_secs(20))
        .build();
    let acquiring = tokio::spawn(async move { client.redeem_code(&code(), "api").await });
    while !acquiring.is_finished() {
        tokio::task::yield_now().await;
        manual_clock.advance_to_next();
    }
    let error = acquiring.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("timeout", false));
    assert!(error.advice().contains("sign in again"), "{error}");
}
