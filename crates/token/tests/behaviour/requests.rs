//! Refresh, claims and correlation ids.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon_token::{
    ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error, Partition, TokenClient,
    TokenEndpoint, TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, transport_fn};
use symbolon_types::{CorrelationId, ManualClock, SharedClock};

use crate::env::{
    ENDPOINT, busy, client, client_on, issued, refused_response, run_background_tasks, secret, value,
};

const CHALLENGE: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

#[tokio::test]
async fn due_token_is_served_and_refreshed_once() {
    let manual_clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("one"), issued("two")]);
    let client = client_on(&manual_clock, &transport);
    let first = client.token("a").await.unwrap();
    manual_clock.set(first.refresh_on() - Duration::from_secs(1));
    client.token("a").await.unwrap();
    run_background_tasks().await;
    assert_eq!(transport.requests().len(), 1, "not refreshed before it is due");
    manual_clock.set(first.refresh_on());
    for _ in 0..3 {
        let token = client.token("a").await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), ("one", TokenOrigin::Cache));
    }
    run_background_tasks().await;
    let renewed = client.token("a").await.unwrap();
    assert_eq!((renewed.secret().expose(), renewed.origin()), ("two", TokenOrigin::Cache));
    assert_eq!(transport.requests().len(), 2);
}

/// A credential with a second certificate.
#[derive(Debug, Default)]
struct WithSuccessor(Mutex<u32>);

impl CredentialSource for WithSuccessor {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let generation = *self.0.lock().unwrap();
        let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
        let partition = Partition::new(format!("generation {generation}"));
        Ok(ClientAuth::new(format!("client-{generation}"), endpoint, partition))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        *self.0.lock().unwrap() += 1;
        true
    }
}

#[tokio::test]
async fn successors_token_is_cached_by_its_claims() {
    let transport = ScriptedTransport::new([
        refused_response(401, "invalid_client", 1),
        issued("claimed"),
        issued("plain"),
    ]);
    let client = TokenClient::builder(WithSuccessor::default(), transport.clone()).build();
    for source in [TokenOrigin::Network, TokenOrigin::Cache] {
        let token = client.token("a").claims_from_client(CHALLENGE).await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), ("claimed", source));
    }
    let plain = client.token("a").await.unwrap();
    assert_eq!((plain.secret().expose(), plain.origin()), ("plain", TokenOrigin::Network));
}

#[tokio::test]
async fn different_claims_share_no_exchange() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    // All requests start before the first response.
    let transport = transport_fn(move |request: Request| {
        let claims = value(&request, "claims");
        log.lock().unwrap().push(claims.clone());
        async move {
            run_background_tasks().await;
            issued(if claims.is_some() { "claimed" } else { "forced" })
        }
    });
    let client = TokenClient::builder(secret(), transport).build();
    let (forced, claimed, same) = futures_util::future::join3(
        client.token("a").force_refresh().into_future(),
        client.token("a").claims(CHALLENGE).into_future(),
        client.token("a").claims(CHALLENGE).into_future(),
    )
    .await;
    for (token, secret) in [(forced, "forced"), (claimed, "claimed"), (same, "claimed")] {
        assert_eq!(token.unwrap().secret().expose(), secret);
    }
    assert_eq!(*sent.lock().unwrap(), [None, Some(CHALLENGE.to_owned())]);
}

#[tokio::test]
async fn blank_claims_are_ignored() {
    let transport = ScriptedTransport::new([issued("one")]);
    let client = client(&transport);
    let mut sources = Vec::new();
    for blank in ["", " ", "\r\n\t"] {
        sources.push(client.token("a").claims(blank).await.unwrap().origin());
        sources.push(client.token("a").claims_from_client(blank).await.unwrap().origin());
    }
    assert_eq!(sources[0], TokenOrigin::Network);
    assert!(sources[1..].iter().all(|source| *source == TokenOrigin::Cache), "{sources:?}");
    assert_eq!(value(&transport.requests()[0], "claims"), None);
}

#[tokio::test]
async fn correlation_id_is_sent_and_returned() {
    let transport = ScriptedTransport::new([issued("one"), refused_response(400, "invalid_scope", 70_011)]);
    let client = client(&transport);
    let id = CorrelationId::random();
    assert_eq!(client.token("a").correlation_id(id).await.unwrap().correlation_id(), id);
    let refused_response = client.token("b").correlation_id(id).await.unwrap_err();
    let unsent = client.token(" ").correlation_id(id).await.unwrap_err();
    let unanswered = client.token("c").correlation_id(id).await.unwrap_err();
    for error in [refused_response, unsent, unanswered] {
        assert_eq!(error.correlation_id(), Some(id), "{error}");
    }
    let sent: Vec<_> =
        transport.requests().iter().map(|request| request.headers()["client-request-id"].clone()).collect();
    assert_eq!(sent, [id.to_string(), id.to_string(), id.to_string()]);
}

#[tokio::test]
async fn joined_request_has_sent_correlation_id() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let transport = transport_fn(move |request: Request| {
        log.lock().unwrap().push(request.headers()["client-request-id"].to_str().unwrap().to_owned());
        async {
            run_background_tasks().await;
            refused_response(400, "invalid_scope", 70_011)
        }
    });
    let client = TokenClient::builder(secret(), transport).build();
    let (leads, joins) = (CorrelationId::random(), CorrelationId::random());
    let (led, joined) = futures_util::future::join(
        client.token("a").correlation_id(leads).into_future(),
        client.token("a").correlation_id(joins).into_future(),
    )
    .await;
    assert_eq!(*sent.lock().unwrap(), [leads.to_string()]);
    for error in [led.unwrap_err(), joined.unwrap_err()] {
        assert_eq!(error.correlation_id(), Some(leads));
    }
}

#[tokio::test]
async fn clock_set_back_prolongs_nothing() {
    let manual_clock = ManualClock::new();
    let (day, year) = (Duration::from_secs(24 * 3600), Duration::from_secs(365 * 24 * 3600));
    let right = SharedClock::from(&manual_clock).now();
    let transport = ScriptedTransport::new([
        issued("one"),
        issued("two"),
        busy(refused_response(429, "throttled", 1), 90),
        issued("three"),
        refused_response(401, "invalid_client", 7_000_215),
        issued("four"),
    ]);
    let client = client_on(&manual_clock, &transport);
    // A token that comes while the clock is a day ahead.
    manual_clock.set(right + day);
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
    manual_clock.set(right);
    manual_clock.advance(Duration::from_secs(3600));
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "two");
    // A delay that is noted while it is a year ahead.
    let right = right + Duration::from_secs(3600);
    manual_clock.set(right + year);
    assert_eq!(client.token("b").await.unwrap_err().status(), Some(429));
    manual_clock.set(right);
    manual_clock.advance(Duration::from_secs(89));
    assert_eq!(client.token("b").await.unwrap_err().retry_after(), Some(Duration::from_secs(1)));
    manual_clock.advance(Duration::from_secs(1));
    assert_eq!(client.token("b").await.unwrap().secret().expose(), "three");
    // And a refused credential.
    manual_clock.set(right + year);
    assert_eq!(client.token("c").await.unwrap_err().code(), "invalid_client");
    manual_clock.set(right);
    manual_clock.advance(Duration::from_secs(1));
    assert_eq!(client.token("c").await.unwrap().secret().expose(), "four");
}

#[tokio::test]
async fn invalidation_keeps_a_newer_token() {
    let transport = ScriptedTransport::new([issued("one"), issued("two"), issued("three")]);
    let client = client(&transport);
    let old = client.token("a").await.unwrap();
    assert!(client.invalidate(&old));
    assert!(!client.invalidate(&old), "it is already removed");
    let new = client.token("a").await.unwrap();
    assert_eq!((new.secret().expose(), new.origin()), ("two", TokenOrigin::Network));
    assert!(!client.invalidate(&old));
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "two");
    assert!(client.invalidate(&client.token("a").await.unwrap()), "a hit is the same token");
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "three");
}
