//! The path from a request to a token, over a scripted transport.

#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use symbolon_token::{
    Application, ClientAuth, ClientSecret, CredentialRejection, CredentialRequest, CredentialSource, Error,
    Partition, TokenClient, TokenEndpoint, TokenSource,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, RetryPolicy, TransportError, TransportErrorKind, transport_fn};
use symbolon_types::{Context, ManualClock, Secret, SharedClock};

const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";

fn granted(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

fn denied(status: u16, error: &str, code: u32) -> Result<Response, TransportError> {
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
async fn a_token_is_asked_for_as_the_rfc_says_and_then_served_from_the_cache() {
    let transport = ScriptedTransport::new([granted("one")]);
    let client = client(&transport);
    let token = client.token("https://graph.example/.default").await.unwrap();
    assert_eq!((token.secret().expose(), token.source()), ("one", TokenSource::Network));
    let again = client.token("https://graph.example/.default").await.unwrap();
    assert_eq!((again.secret().expose(), again.source()), ("one", TokenSource::Cache));

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
async fn scopes_in_another_order_are_the_same_token() {
    let transport = ScriptedTransport::new([granted("one")]);
    let client = client(&transport);
    client.token("b a").await.unwrap();
    assert_eq!(client.token(" a b a").await.unwrap().source(), TokenSource::Cache);
    assert_eq!(value(&transport.requests()[0], "scope").as_deref(), Some("a b"));
}

#[tokio::test]
async fn another_resource_is_another_token() {
    let transport = ScriptedTransport::new([granted("one"), granted("two")]);
    let client = client(&transport);
    client.token_for_resource("https://a.example").await.unwrap();
    let other = client.token_for_resource("https://b.example").await.unwrap();
    assert_eq!((other.secret().expose(), other.audience()), ("two", "https://b.example"));
    assert_eq!(value(&transport.requests()[1], "scope").as_deref(), Some("https://b.example/.default"));
}

#[tokio::test]
async fn server_claims_bypass_the_cache_and_their_token_replaces_the_old_one() {
    let transport = ScriptedTransport::new([granted("old"), granted("stepped up")]);
    let client = client(&transport);
    client.token("a").await.unwrap();
    let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let stepped_up = client.token("a").claims(challenge).await.unwrap();
    assert_eq!((stepped_up.secret().expose(), stepped_up.source()), ("stepped up", TokenSource::Network));
    assert_eq!(value(&transport.requests()[1], "claims").as_deref(), Some(challenge));
    let plain = client.token("a").await.unwrap();
    assert_eq!((plain.secret().expose(), plain.source()), ("stepped up", TokenSource::Cache));
}

#[tokio::test]
async fn client_claims_key_the_cache_by_their_exact_text() {
    let transport =
        ScriptedTransport::new([granted("plain"), granted("perimeter"), granted("other spelling")]);
    let client = client(&transport);
    let claims = r#"{"access_token":{"xms_az_nwperimid":{"values":["p1"]}}}"#;
    let spelled = r#"{"access_token": {"xms_az_nwperimid":{"values":["p1"]}}}"#;
    client.token("a").await.unwrap();
    let first = client.token("a").claims_from_client(claims).await.unwrap();
    let second = client.token("a").claims_from_client(claims).await.unwrap();
    let third = client.token("a").claims_from_client(spelled).await.unwrap();
    assert_eq!((first.source(), second.source()), (TokenSource::Network, TokenSource::Cache));
    assert_eq!(second.secret().expose(), "perimeter");
    assert_eq!(third.secret().expose(), "other spelling");
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "plain");
}

#[tokio::test]
async fn capabilities_are_declared_and_do_not_bypass_the_cache() {
    let transport = ScriptedTransport::new([granted("one")]);
    let client = TokenClient::builder(secret(), transport.clone()).capabilities(["cp1"]).build();
    client.token("a").await.unwrap();
    client.token("a").await.unwrap();
    let claims = value(&transport.requests()[0], "claims");
    assert_eq!(claims.as_deref(), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn a_forced_refresh_is_sent_and_its_failure_keeps_the_token() {
    let transport =
        ScriptedTransport::new([granted("one"), denied(400, "invalid_request", 1), granted("two")]);
    let client = client(&transport);
    client.token("a").await.unwrap();
    assert!(client.token("a").force_refresh().await.is_err());
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
    assert_eq!(client.token("a").force_refresh().await.unwrap().secret().expose(), "two");
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "two");
}

#[tokio::test]
async fn bad_input_is_an_error_before_anything_is_sent() {
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
async fn a_denial_tells_its_code_and_shows_no_secret() {
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
async fn the_service_is_asked_again_as_it_asks_and_the_delays_are_on_the_clock() {
    let busy = |seconds: &'static str| {
        let headers: HeaderMap =
            [(http::header::RETRY_AFTER, HeaderValue::from_static(seconds))].into_iter().collect();
        Ok(Response::new(StatusCode::TOO_MANY_REQUESTS, "").with_headers(headers))
    };
    let transport =
        ScriptedTransport::new([busy("7"), Err(TransportErrorKind::Interrupted.into()), granted("one")]);
    let hands = ManualClock::new();
    let client = TokenClient::builder(secret(), transport.clone())
        .context(Context::default().with_clock(&hands).with_jitter(symbolon_types::Jitter::fixed(0.5)))
        .build();
    let acquiring = tokio::spawn(async move { client.token("a").await });
    let mut delays = Vec::new();
    while !acquiring.is_finished() {
        tokio::task::yield_now().await;
        delays.extend(hands.advance_to_next());
    }
    assert_eq!(acquiring.await.unwrap().unwrap().secret().expose(), "one");
    assert_eq!(delays, [Duration::from_secs(7), Duration::from_secs(2)]);
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up_at_the_deadline() {
    let hands = ManualClock::new();
    let transport = transport_fn(|_| std::future::pending());
    let client = TokenClient::builder(secret(), transport)
        .context(Context::default().with_clock(&hands))
        .deadline(Duration::from_secs(20))
        .build();
    let cache = client.cache().clone();
    let start = SharedClock::from(&hands).now();
    let acquiring = tokio::spawn(async move { client.token("a").await });
    while !acquiring.is_finished() {
        tokio::task::yield_now().await;
        hands.advance_to_next();
    }
    let error = acquiring.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("timeout", true));
    assert_eq!(SharedClock::from(&hands).now().duration_since(start).unwrap(), Duration::from_secs(20));
    assert!(
        cache.find(&symbolon_token::CacheKey::bearer(&Partition::new("x"), "a")).is_none()
            && cache.is_empty()
    );
}

/// A credential that has successors, and remembers what it was told.
#[derive(Clone, Debug)]
struct Successive {
    generation: Arc<Mutex<u32>>,
    last: u32,
    refusals: Arc<Mutex<Vec<CredentialRejection>>>,
}

impl Successive {
    fn until(last: u32) -> Self {
        Self { generation: Arc::default(), last, refusals: Arc::default() }
    }
}

impl CredentialSource for Successive {
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

fn successive(transport: &ScriptedTransport, last: u32) -> (TokenClient, Successive) {
    let credential = Successive::until(last);
    let client =
        TokenClient::builder(credential.clone(), transport.clone()).retry(RetryPolicy::once()).build();
    (client, credential)
}

#[tokio::test]
async fn a_refused_credential_is_replaced_once_and_the_token_belongs_to_the_successor() {
    let transport = ScriptedTransport::new([denied(401, "invalid_client", 1_000_610), granted("one")]);
    let (client, credential) = successive(&transport, 9);
    let token = client.token("a").await.unwrap();
    assert_eq!((token.secret().expose(), token.client_id()), ("one", Some("client-1")));
    assert_eq!(
        *credential.refusals.lock().unwrap(),
        [CredentialRejection::Client { server_codes: vec![1_000_610] }]
    );
    assert_eq!(client.token("a").await.unwrap().source(), TokenSource::Cache);
    assert_eq!(client.cache().len(), 1);
}

#[tokio::test]
async fn a_second_refusal_is_the_callers() {
    let transport = ScriptedTransport::new([
        denied(401, "invalid_client", 1),
        denied(401, "invalid_client", 2),
        granted("never"),
    ]);
    let (client, credential) = successive(&transport, 9);
    let error = client.token("a").await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[2][..]));
    assert_eq!(credential.refusals.lock().unwrap().len(), 1);
    assert_eq!(transport.responses_left(), 1);
}

#[tokio::test]
async fn a_credential_without_successor_is_not_tried_again() {
    let transport = ScriptedTransport::new([denied(401, "invalid_client", 7_000_215), granted("never")]);
    let (client, _) = successive(&transport, 0);
    assert_eq!(client.token("a").await.unwrap_err().server_codes(), [7_000_215]);
    assert_eq!(transport.responses_left(), 1);
}

#[tokio::test]
async fn only_refusals_of_the_credential_reach_it() {
    let rejected = Err(TransportError::new(TransportErrorKind::IdentityRejected));
    let mistyped =
        Ok(Response::new(StatusCode::OK, r#"{"token_type":"pop","access_token":"t","expires_in":1}"#));
    for (case, answer, code, refusals) in [
        ("TLS", rejected, "transport_error", 1),
        ("expired for tokens", denied(400, "invalid_request", 1_000_901), "invalid_request", 1),
        ("bound to another", denied(400, "invalid_grant", 500_181), "invalid_grant", 1),
        ("unauthorized", denied(400, "unauthorized_client", 700_016), "unauthorized_client", 0),
        ("unavailable", denied(503, "temporarily_unavailable", 90_033), "temporarily_unavailable", 0),
        ("throttled", denied(429, "throttled", 50_196), "throttled", 0),
        ("mistyped", mistyped, "token_type_mismatch", 0),
        ("unreachable", Err(TransportErrorKind::Connect.into()), "transport_error", 0),
    ] {
        let transport = ScriptedTransport::new([answer]);
        let (client, credential) = successive(&transport, 0);
        assert_eq!(client.token("a").await.unwrap_err().code(), code, "{case}");
        assert_eq!(credential.refusals.lock().unwrap().len(), refusals, "{case}");
        assert!(client.cache().is_empty(), "{case}");
    }
}

#[tokio::test]
async fn a_bound_request_over_a_transport_without_certificates_is_refused_before_the_credential_is_asked() {
    let transport = transport_fn(|_| async { granted("never") });
    let credential = Successive::until(0);
    let client = TokenClient::builder(credential.clone(), transport).build();
    let error = client.token("a").proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "mtls_not_supported_by_transport");
}

#[tokio::test]
async fn a_token_travels_only_over_tls_and_in_a_header_that_no_log_shows() {
    let transport = ScriptedTransport::new([granted("one")]);
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
async fn clients_that_share_a_cache_do_not_share_tokens_of_different_clients() {
    let transport = ScriptedTransport::new([granted("first"), granted("second"), granted("third")]);
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
        (&first, "first", TokenSource::Network),
        (&of_another_client, "second", TokenSource::Network),
        (&at_another_endpoint, "third", TokenSource::Network),
        (&the_same, "first", TokenSource::Cache),
    ] {
        let token = client.token("a").await.unwrap();
        assert_eq!((token.secret().expose(), token.source()), (secret, source));
    }
    assert_eq!(first.cache().len(), 3);
}
