//! Bound tokens, refresh, claims, errors and throttling, over a scripted transport.

#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use symbolon_token::{
    Application, ClientAssertion, ClientAuth, ClientSecret, CredentialRejection, CredentialRequest,
    CredentialSource, Error, ErrorKind, Partition, SignedAssertion, TokenClient, TokenClientBuilder,
    TokenEndpoint, TokenOrigin, assertion_fn,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Request, Response, RetryPolicy, TransportError, transport_fn};
use symbolon_types::{
    ClientIdentity, Context, CorrelationId, Jitter, ManualClock, Secret, SharedClock, SharedSigningKey,
};

const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";
const CHALLENGE: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

type HttpResult = Result<Response, TransportError>;

fn answer(status: u16, body: &str) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
}

fn issued_as(token_type: &str, token: &str) -> HttpResult {
    answer(200, &format!(r#"{{"token_type":"{token_type}","access_token":"{token}","expires_in":3600}}"#))
}

fn issued(token: &str) -> HttpResult {
    issued_as("Bearer", token)
}

fn refused_response(status: u16, error: &str, code: u32) -> HttpResult {
    answer(
        status,
        &format!(r#"{{"error":"{error}","error_description":"AADSTS{code}: no.","error_codes":[{code}]}}"#),
    )
}

/// Adds `Retry-After` to a response.
fn busy(answer: HttpResult, seconds: u64) -> HttpResult {
    let headers: HeaderMap = [(RETRY_AFTER, HeaderValue::from(seconds))].into_iter().collect();
    answer.map(|response| response.with_headers(headers))
}

fn application() -> Application {
    Application::at(TokenEndpoint::parse(ENDPOINT).unwrap(), "client").unwrap()
}

fn secret() -> ClientSecret {
    ClientSecret::new(application(), Secret::new("secret")).unwrap()
}

fn builder(transport: &ScriptedTransport) -> TokenClientBuilder {
    TokenClient::builder(secret(), transport.clone()).retry(RetryPolicy::once())
}

fn client(transport: &ScriptedTransport) -> TokenClient {
    builder(transport).build()
}

/// Returns a client with a manual clock and without jitter.
fn client_on(manual_clock: &ManualClock, transport: &ScriptedTransport) -> TokenClient {
    builder(transport)
        .context(
            Context::default().with_clock(SharedClock::from(manual_clock)).with_jitter(Jitter::fixed(0.0)),
        )
        .build()
}

fn value(request: &Request, name: &str) -> Option<String> {
    let mut form = url::form_urlencoded::parse(request.body()).into_owned();
    form.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Yields to background tasks, which run on the same thread.
async fn run_background_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn identity() -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
    ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
}

/// A credential whose client authentication a closure returns.
struct CredentialFn<F>(F);

impl<F> std::fmt::Debug for CredentialFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialFn")
    }
}

impl<F: Fn(bool, ClientAuth) -> ClientAuth + Send + Sync + 'static> CredentialSource for CredentialFn<F> {
    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
        let auth = ClientAuth::new("client", endpoint, Partition::new("client"));
        Ok((self.0)(request.proof_of_possession(), auth))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

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

#[tokio::test]
async fn bound_request_gets_no_bearer_token() {
    let transport = ScriptedTransport::new([issued("bearer"), issued_as("mtls_pop", "bound")]);
    let identity = identity();
    let presented = identity.clone();
    let credential = CredentialFn(move |is_bound, auth: ClientAuth| match is_bound {
        true => auth.with_proof_of_possession(presented.clone()),
        false => auth.with_identity(presented.clone()),
    });
    let client = TokenClient::builder(credential, transport.clone()).build();
    for (is_bound, secret, source) in [
        (false, "bearer", TokenOrigin::Network),
        (true, "bound", TokenOrigin::Network),
        (false, "bearer", TokenOrigin::Cache),
        (true, "bound", TokenOrigin::Cache),
    ] {
        let request = client.token("a");
        let request = if is_bound { request.proof_of_possession() } else { request };
        let token = request.await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, source));
        assert_eq!(token.bound_to(), is_bound.then_some(&identity));
    }
    let asked: Vec<_> = transport.requests().iter().map(|request| value(request, "token_type")).collect();
    assert_eq!(asked, [None, Some("mtls_pop".to_owned())]);
}

#[tokio::test]
async fn bound_token_is_cached_by_certificate() {
    let transport = ScriptedTransport::new([issued_as("mtls_pop", "one"), issued_as("mtls_pop", "two")]);
    let client = |identity: &ClientIdentity| {
        let identity = identity.clone();
        let credential =
            CredentialFn(move |_, auth: ClientAuth| auth.with_proof_of_possession(identity.clone()));
        TokenClient::builder(credential, transport.clone())
    };
    let [first, second] = [identity(), identity()];
    let of_first = client(&first).build();
    let of_second = client(&second).cache(of_first.cache().clone()).build();
    for source in [TokenOrigin::Network, TokenOrigin::Cache] {
        for (client, identity, secret) in [(&of_first, &first, "one"), (&of_second, &second, "two")] {
            let token = client.token("a").proof_of_possession().await.unwrap();
            assert_eq!((token.secret().expose(), token.origin()), (secret, source));
            assert_eq!(token.bound_to(), Some(identity));
        }
    }
}

#[tokio::test]
async fn credential_without_binding_is_refused() {
    let transport = ScriptedTransport::new([issued("bearer"), issued_as("mtls_pop", "never")]);
    let client = TokenClient::builder(CredentialFn(|_, auth| auth), transport.clone()).build();
    client.token("a").await.unwrap();
    let error = client.token("a").proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn unusable_certificate_is_refused() {
    let identity = identity();
    let ends = identity.not_after();
    let credential = || {
        let identity = identity.clone();
        CredentialFn(move |_, auth: ClientAuth| auth.with_identity(identity.clone()))
    };
    let incapable = TokenClient::builder(credential(), transport_fn(|_| async { issued("never") })).build();
    assert_eq!(incapable.token("a").await.unwrap_err().code(), "mtls_not_supported_by_transport");

    let manual_clock = ManualClock::at(ends);
    let transport = ScriptedTransport::new([issued("one")]);
    let client = TokenClient::builder(credential(), transport.clone())
        .context(Context::default().with_clock(&manual_clock))
        .build();
    let error = client.token("a").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_certificate", ErrorKind::Credential));
    assert!(transport.requests().is_empty());
    manual_clock.set(ends - Duration::from_secs(1));
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}

#[tokio::test]
async fn bound_token_ends_before_its_certificate() {
    let identity = identity();
    let ends = identity.not_after();
    let manual_clock = ManualClock::at(ends - Duration::from_secs(30 * 60));
    let transport = ScriptedTransport::new([issued_as("mtls_pop", "one"), issued_as("mtls_pop", "two")]);
    let credential = CredentialFn(move |_, auth: ClientAuth| auth.with_proof_of_possession(identity.clone()));
    let client = TokenClient::builder(credential, transport)
        .context(Context::default().with_clock(&manual_clock).with_jitter(Jitter::fixed(0.0)))
        .build();
    let token = client.token("a").proof_of_possession().await.unwrap();
    assert!(token.expires_on() > ends && token.refresh_on() < ends);
    manual_clock.set(ends - Duration::from_secs(10));
    let token = client.token("a").proof_of_possession().await.unwrap();
    assert_eq!((token.secret().expose(), token.origin()), ("two", TokenOrigin::Network));
}

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
