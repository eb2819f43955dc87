//! The exchange of a token request, over a scripted transport.

#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use symbolon_token::{
    Application, AuthorizationCode, CacheKey, ClientAuth, ClientSecret, CredentialRejection,
    CredentialRequest, CredentialSource, Error, Partition, RequestOptions, TokenClient, TokenEndpoint,
    TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, RetryPolicy, TransportError, TransportErrorKind, transport_fn};
use symbolon_types::{Clock, Context, ManualClock, Secret, SharedClock, SteadyTime};

const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";

fn issued(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

fn refused_response(status: u16, error: &str, code: u32) -> Result<Response, TransportError> {
    let body =
        format!(r#"{{"error":"{error}","error_description":"AADSTS{code}: no.","error_codes":[{code}]}}"#);
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body))
}

fn secret() -> ClientSecret {
    let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
    ClientSecret::new(Application::at(endpoint, "client").unwrap(), Secret::new("p@ss&word")).unwrap()
}

fn client(transport: &ScriptedTransport) -> TokenClient {
    TokenClient::builder(secret(), transport.clone()).retry(RetryPolicy::once()).build()
}

fn form(request: &Request) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

fn value(request: &Request, name: &str) -> Option<String> {
    form(request).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[tokio::test]
async fn token_is_fetched_and_cached() {
    let transport = ScriptedTransport::new([issued("one")]);
    let client = client(&transport);
    let token = client.token("https://graph.example/.default").await.unwrap();
    assert_eq!((token.secret().expose(), token.origin()), ("one", TokenOrigin::Network));
    let again = client.token("https://graph.example/.default").await.unwrap();
    assert_eq!((again.secret().expose(), again.origin()), ("one", TokenOrigin::Cache));

    let [request] = &transport.requests()[..] else { panic!("one request") };
    assert_eq!((request.method().as_str(), request.url().as_str()), ("POST", ENDPOINT));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        form(request),
        [
            pair("client_id", "client"),
            pair("client_secret", "p@ss&word"),
            pair("scope", "https://graph.example/.default"),
            pair("grant_type", "client_credentials"),
        ]
    );
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("accept"), "application/json");
    assert_eq!(header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(header("client-request-id"), token.correlation_id().to_string());
    assert_eq!(header("x-ms-lib-capability"), "retry-after, h429");
}

#[tokio::test]
async fn order_of_scopes_does_not_matter() {
    let transport = ScriptedTransport::new([issued("one")]);
    let client = client(&transport);
    client.token("b a").await.unwrap();
    assert_eq!(client.token(" a b a").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(value(&transport.requests()[0], "scope").as_deref(), Some("a b"));
}

#[tokio::test]
async fn each_resource_has_a_token() {
    let transport = ScriptedTransport::new([issued("one"), issued("two")]);
    let client = client(&transport);
    client.token_for_resource("https://a.example").await.unwrap();
    let other = client.token_for_resource("https://b.example").await.unwrap();
    assert_eq!((other.secret().expose(), other.audience()), ("two", "https://b.example"));
    assert_eq!(value(&transport.requests()[1], "scope").as_deref(), Some("https://b.example/.default"));
}

#[tokio::test]
async fn server_claims_replace_the_cached_token() {
    let transport = ScriptedTransport::new([issued("old"), issued("stepped-up")]);
    let client = client(&transport);
    client.token("a").await.unwrap();
    let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let stepped_up = client.token("a").claims(challenge).await.unwrap();
    assert_eq!((stepped_up.secret().expose(), stepped_up.origin()), ("stepped-up", TokenOrigin::Network));
    assert_eq!(value(&transport.requests()[1], "claims").as_deref(), Some(challenge));
    let plain = client.token("a").await.unwrap();
    assert_eq!((plain.secret().expose(), plain.origin()), ("stepped-up", TokenOrigin::Cache));
}

#[tokio::test]
async fn client_claims_are_part_of_the_key() {
    let transport = ScriptedTransport::new([issued("plain"), issued("perimeter"), issued("other-spelling")]);
    let client = client(&transport);
    let claims = r#"{"access_token":{"xms_az_nwperimid":{"values":["p1"]}}}"#;
    let spelled = r#"{"access_token": {"xms_az_nwperimid":{"values":["p1"]}}}"#;
    client.token("a").await.unwrap();
    let first = client.token("a").claims_from_client(claims).await.unwrap();
    let second = client.token("a").claims_from_client(claims).await.unwrap();
    let third = client.token("a").claims_from_client(spelled).await.unwrap();
    assert_eq!((first.origin(), second.origin()), (TokenOrigin::Network, TokenOrigin::Cache));
    assert_eq!(second.secret().expose(), "perimeter");
    assert_eq!(third.secret().expose(), "other-spelling");
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "plain");
}

#[tokio::test]
async fn capabilities_do_not_bypass_the_cache() {
    let transport = ScriptedTransport::new([issued("one")]);
    let client = TokenClient::builder(secret(), transport.clone()).capabilities(["cp1"]).build();
    client.token("a").await.unwrap();
    client.token("a").await.unwrap();
    let claims = value(&transport.requests()[0], "claims");
    assert_eq!(claims.as_deref(), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn failed_forced_refresh_keeps_the_token() {
    let transport =
        ScriptedTransport::new([issued("one"), refused_response(400, "invalid_request", 1), issued("two")]);
    let client = client(&transport);
    client.token("a").await.unwrap();
    assert!(client.token("a").force_refresh().await.is_err());
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
    assert_eq!(client.token("a").force_refresh().await.unwrap().secret().expose(), "two");
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "two");
}

#[tokio::test]
async fn invalid_request_is_refused() {
    let transport = ScriptedTransport::new([]);
    let client = client(&transport);
    let cases: [(_, Error); 5] = [
        ("invalid_scope", client.token(" ").await.unwrap_err()),
        ("invalid_scope", client.token_for_resource("").await.unwrap_err()),
        ("invalid_claims", client.token("a").claims("[1]").await.unwrap_err()),
        ("invalid_claims", client.token("a").claims_from_client("{").await.unwrap_err()),
        ("mtls_certificate_not_provided", client.token("a").proof_of_possession().await.unwrap_err()),
    ];
    for (code, error) in cases {
        assert_eq!(error.code(), code);
        assert!(!error.advice().is_empty() && error.correlation_id().is_some(), "{error:?}");
    }
    assert!(transport.requests().is_empty() && client.cache().is_empty());
    let endpoint = || TokenEndpoint::parse(ENDPOINT).unwrap();
    assert!(Application::at(endpoint(), "").is_err());
    assert!(ClientSecret::new(Application::at(endpoint(), "client").unwrap(), Secret::new("")).is_err());
}

#[tokio::test]
async fn error_has_code_and_no_secret() {
    let challenge = r#"{"error":"interaction_required","error_description":"AADSTS50076: more, for eyJ0b2tlbl90aGF0X211c3Rfbm90X2JlX3Nob3duX2F0X2FsbA.x.y",
        "error_codes":[50076],"claims":"{\"access_token\":{\"acrs\":{\"value\":\"c1\"}}}"}"#;
    let transport = ScriptedTransport::new([Ok(Response::new(StatusCode::BAD_REQUEST, challenge))]);
    let client = client(&transport);
    let error = client.token("a").await.unwrap_err();
    assert_eq!(
        (error.code(), error.status(), error.server_codes()),
        ("interaction_required", Some(400), &[50076][..])
    );
    assert_eq!(error.claims(), Some(r#"{"access_token":{"acrs":{"value":"c1"}}}"#));
    assert_eq!(error.excerpt(), Some("AADSTS50076: more, for [redacted]"));
    assert!(client.cache().is_empty());
    let shown = format!("{error} {error:?} {client:?} {:?}", client.token("a"));
    for hidden in ["p@ss", "eyJ0b2tlbl", "acrs"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[tokio::test]
async fn transient_errors_are_retried() {
    let busy = |seconds: &'static str| {
        let headers: HeaderMap =
            [(http::header::RETRY_AFTER, HeaderValue::from_static(seconds))].into_iter().collect();
        Ok(Response::new(StatusCode::TOO_MANY_REQUESTS, "").with_headers(headers))
    };
    let transport =
        ScriptedTransport::new([busy("7"), Err(TransportErrorKind::Interrupted.into()), issued("one")]);
    let manual_clock = ManualClock::new();
    let client = TokenClient::builder(secret(), transport.clone())
        .context(Context::default().with_clock(&manual_clock).with_jitter(symbolon_types::Jitter::fixed(0.5)))
        .build();
    let acquiring = tokio::spawn(async move { client.token("a").await });
    let mut delays = Vec::new();
    while !acquiring.is_finished() {
        tokio::task::yield_now().await;
        delays.extend(manual_clock.advance_to_next());
    }
    assert_eq!(acquiring.await.unwrap().unwrap().secret().expose(), "one");
    assert_eq!(delays, [Duration::from_secs(7), Duration::from_secs(2)]);
}

#[tokio::test]
async fn request_ends_at_its_deadline() {
    let own = RequestOptions::default().with_deadline(Duration::from_secs(5));
    for (options, deadline) in [(RequestOptions::default(), 20), (own, 5)] {
        let manual_clock = ManualClock::new();
        let transport = transport_fn(|_| std::future::pending());
        let client = TokenClient::builder(secret(), transport)
            .context(Context::default().with_clock(&manual_clock))
            .deadline(Duration::from_secs(20))
            .build();
        let cache = client.cache().clone();
        let start = SharedClock::from(&manual_clock).now();
        let acquiring = tokio::spawn(async move { client.token("a").options(options).await });
        while !acquiring.is_finished() {
            tokio::task::yield_now().await;
            manual_clock.advance_to_next();
        }
        let error = acquiring.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("timeout", true));
        let elapsed = SharedClock::from(&manual_clock).now().duration_since(start).unwrap();
        assert_eq!(elapsed, Duration::from_secs(deadline));
        assert!(cache.find(&CacheKey::bearer(&Partition::new("x"), "a")).is_none() && cache.is_empty());
    }
}

/// A credential with successors that records its rejections.
#[derive(Clone, Debug)]
struct RotatingCredential {
    generation: Arc<Mutex<u32>>,
    last: u32,
    refusals: Arc<Mutex<Vec<CredentialRejection>>>,
}

impl RotatingCredential {
    fn until(last: u32) -> Self {
        Self { generation: Arc::default(), last, refusals: Arc::default() }
    }
}

impl CredentialSource for RotatingCredential {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let generation = *self.generation.lock().unwrap();
        let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
        let partition = Partition::new(format!("generation {generation}"));
        Ok(ClientAuth::new(format!("client-{generation}"), endpoint, partition))
    }

    async fn refused(&self, _used: &ClientAuth, why: &CredentialRejection) -> bool {
        self.refusals.lock().unwrap().push(why.clone());
        let mut generation = self.generation.lock().unwrap();
        if *generation < self.last {
            *generation += 1;
            return true;
        }
        false
    }
}

fn rotating(transport: &ScriptedTransport, last: u32) -> (TokenClient, RotatingCredential) {
    let credential = RotatingCredential::until(last);
    let client =
        TokenClient::builder(credential.clone(), transport.clone()).retry(RetryPolicy::once()).build();
    (client, credential)
}

#[tokio::test]
async fn rejected_credential_is_replaced_once() {
    let transport =
        ScriptedTransport::new([refused_response(401, "invalid_client", 1_000_610), issued("one")]);
    let (client, credential) = rotating(&transport, 9);
    let token = client.token("a").await.unwrap();
    assert_eq!((token.secret().expose(), token.client_id()), ("one", Some("client-1")));
    assert_eq!(
        *credential.refusals.lock().unwrap(),
        [CredentialRejection::Client { server_codes: vec![1_000_610] }]
    );
    assert_eq!(client.token("a").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(client.cache().len(), 1);
}

/// The credential has a successor, but the code counts once.
#[tokio::test]
async fn rejection_repeats_unprocessed_code_only() {
    let rejected = |is_unprocessed| {
        TransportError::new(TransportErrorKind::IdentityRejected).with_unprocessed(is_unprocessed)
    };
    for (answer, requests) in [
        (Err(rejected(true)), 2),
        (Err(rejected(false)), 1),
        (refused_response(401, "invalid_client", 7_000_222), 2),
    ] {
        let transport = ScriptedTransport::new([answer.clone(), issued("one")]);
        let (client, credential) = rotating(&transport, 9);
        let code = AuthorizationCode::new(Secret::new("code"), "https://app.example/");
        let redeemed = client.redeem_code(&code, "a").await;
        assert_eq!(redeemed.is_ok(), requests == 2, "{answer:?}");
        assert_eq!(transport.requests().len(), requests, "{answer:?}");
        assert_eq!(credential.refusals.lock().unwrap().len(), 1, "the next request has the successor");
        let transport = ScriptedTransport::new([answer, issued("one")]);
        let (client, _) = rotating(&transport, 9);
        client.token("a").await.unwrap();
    }
}

#[tokio::test]
async fn second_rejection_is_returned() {
    let transport = ScriptedTransport::new([
        refused_response(401, "invalid_client", 1),
        refused_response(401, "invalid_client", 2),
        issued("never"),
    ]);
    let (client, credential) = rotating(&transport, 9);
    let error = client.token("a").await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[2][..]));
    assert_eq!(credential.refusals.lock().unwrap().len(), 1);
    assert_eq!(transport.responses_left(), 1);
}

#[tokio::test]
async fn no_retry_without_credential_successor() {
    let transport =
        ScriptedTransport::new([refused_response(401, "invalid_client", 7_000_215), issued("never")]);
    let (client, _) = rotating(&transport, 0);
    assert_eq!(client.token("a").await.unwrap_err().server_codes(), [7_000_215]);
    assert_eq!(transport.responses_left(), 1);
}

#[tokio::test]
async fn only_rejections_reach_the_credential() {
    let rejected = Err(TransportError::new(TransportErrorKind::IdentityRejected));
    let mistyped =
        Ok(Response::new(StatusCode::OK, r#"{"token_type":"pop","access_token":"t","expires_in":1}"#));
    for (case, answer, code, refusals) in [
        ("TLS", rejected, "transport_error", 1),
        ("expired for tokens", refused_response(400, "invalid_request", 1_000_901), "invalid_request", 1),
        ("bound to another", refused_response(400, "invalid_grant", 500_181), "invalid_grant", 1),
        ("unauthorized", refused_response(400, "unauthorized_client", 700_016), "unauthorized_client", 0),
        (
            "unavailable",
            refused_response(503, "temporarily_unavailable", 90_033),
            "temporarily_unavailable",
            0,
        ),
        ("throttled", refused_response(429, "throttled", 50_196), "throttled", 0),
        ("mistyped", mistyped, "token_type_mismatch", 0),
        ("unreachable", Err(TransportErrorKind::Connect.into()), "transport_error", 0),
    ] {
        let transport = ScriptedTransport::new([answer]);
        let (client, credential) = rotating(&transport, 0);
        assert_eq!(client.token("a").await.unwrap_err().code(), code, "{case}");
        assert_eq!(credential.refusals.lock().unwrap().len(), refusals, "{case}");
        assert!(client.cache().is_empty(), "{case}");
    }
}

#[tokio::test]
async fn transport_must_support_certificates() {
    let transport = transport_fn(|_| async { issued("never") });
    let credential = RotatingCredential::until(0);
    let client = TokenClient::builder(credential.clone(), transport).build();
    let error = client.token("a").proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "mtls_not_supported_by_transport");
}

#[tokio::test]
async fn token_is_sent_over_tls_only() {
    let transport = ScriptedTransport::new([issued("one")]);
    let token = client(&transport).token("a").await.unwrap();
    let request = |url: &str| http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    let authorized = token.authorize(request("https://vault.example/secrets")).unwrap();
    assert_eq!(authorized.headers()["authorization"], "Bearer one");
    assert!(authorized.headers()["authorization"].is_sensitive());
    for (url, code) in [("http://vault.example/", "insecure_endpoint"), ("/relative", "invalid_request")] {
        assert_eq!(token.authorize(request(url)).unwrap_err().code(), code, "{url}");
    }
}

#[tokio::test]
async fn shared_cache_separates_clients() {
    let transport = ScriptedTransport::new([issued("first"), issued("second"), issued("third")]);
    let first = client(&transport);
    let other = |endpoint: &str, id| {
        let application = Application::at(TokenEndpoint::parse(endpoint).unwrap(), id).unwrap();
        let credential = ClientSecret::new(application, Secret::new("x")).unwrap();
        TokenClient::builder(credential, transport.clone()).cache(first.cache().clone()).build()
    };
    let of_another_client = other(ENDPOINT, "other");
    let at_another_endpoint = other("https://login.example/another/oauth2/v2.0/token", "client");
    let the_same = other(ENDPOINT, "client");
    for (client, secret, source) in [
        (&first, "first", TokenOrigin::Network),
        (&of_another_client, "second", TokenOrigin::Network),
        (&at_another_endpoint, "third", TokenOrigin::Network),
        (&the_same, "first", TokenOrigin::Cache),
    ] {
        let token = client.token("a").await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, source));
    }
    assert_eq!(first.cache().len(), 3);
}

/// A clock whose wall time is set forward while a request runs.
#[derive(Clone, Debug, Default)]
struct SettableClock(Arc<std::sync::atomic::AtomicU64>);

impl SettableClock {
    fn set_forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    }

    fn moved(&self) -> Duration {
        Duration::from_secs(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

impl Clock for SettableClock {
    fn now(&self) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.moved()
    }

    fn steady_now(&self) -> SteadyTime {
        self.timer_now().plus(self.moved())
    }

    fn timer_now(&self) -> SteadyTime {
        SteadyTime::after_start(Duration::from_secs(60))
    }

    async fn sleep(&self, duration: Duration) {
        if !duration.is_zero() {
            std::future::pending::<()>().await;
        }
    }
}

/// A credential that takes until the clock is set.
#[derive(Debug)]
struct SlowCredential(ClientSecret, SettableClock);

impl CredentialSource for SlowCredential {
    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        self.1.set_forward(3600);
        self.0.authenticate(request).await
    }

    async fn refused(&self, _used: &ClientAuth, _rejection: &CredentialRejection) -> bool {
        false
    }
}

#[tokio::test]
async fn set_clock_ends_no_request() {
    let clock = SettableClock::default();
    let transport = transport_fn(|_| async {
        tokio::task::yield_now().await;
        issued("one")
    });
    let client = TokenClient::builder(SlowCredential(secret(), clock.clone()), transport)
        .context(Context::default().with_clock(SharedClock::new(clock)))
        .deadline(Duration::from_secs(20))
        .build();
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}
