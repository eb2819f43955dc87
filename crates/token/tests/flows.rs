//! Flows for users, parameters, tenants and assertions, over a scripted transport.

#![cfg(test)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, AuthorizationCode, Caching, ClientAssertion, ClientSecret, Error, ErrorKind, MemoryStore,
    SignedAssertion, TokenCache, TokenClient, TokenEndpoint, TokenOrigin, WorkloadIdentity, assertion_fn,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, RetryPolicy, TransportError, TransportErrorKind, transport_fn};
use symbolon_types::{Context, CorrelationId, Env, ManualClock, Secret, SharedClock};

const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";
/// The scopes of every request about a user.
const USER: &str = "offline_access openid profile";

type HttpResult = Result<Response, TransportError>;

fn answer(status: u16, body: serde_json::Value) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_string()))
}

fn issued(token: &str) -> HttpResult {
    answer(200, serde_json::json!({"token_type": "Bearer", "access_token": token, "expires_in": 3600}))
}

/// A response about the user `uid.utid`.
fn about_user(token: &str, refresh_token: Option<&str>) -> HttpResult {
    let info = Base64UrlUnpadded::encode_string(br#"{"uid":"uid","utid":"utid"}"#);
    let mut body = serde_json::json!({
        "token_type": "Bearer", "access_token": token, "expires_in": 3600, "client_info": info,
    });
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    answer(200, body)
}

fn refused_response(status: u16, error: &str) -> HttpResult {
    answer(status, serde_json::json!({"error": error}))
}

fn at_endpoint() -> Application {
    Application::at(TokenEndpoint::parse(ENDPOINT).unwrap(), "client").unwrap()
}

fn client_of(application: Application, transport: &ScriptedTransport) -> TokenClient {
    let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
    TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(Env::empty()))
        .build()
}

fn client(answers: impl IntoIterator<Item = HttpResult>) -> (TokenClient, ScriptedTransport) {
    let transport = ScriptedTransport::new(answers);
    (client_of(at_endpoint(), &transport), transport)
}

/// Returns the parameters of a token request, except those that all requests here have.
fn form(request: &Request) -> Vec<(String, String)> {
    let all = url::form_urlencoded::parse(request.body()).into_owned();
    all.filter(|(name, _)| name != "client_id" && name != "client_secret").collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the parameters that redeem a refresh token.
fn redemption(refresh_token: &str, scope: &str) -> Vec<(String, String)> {
    pairs(&[
        ("scope", scope),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_info", "1"),
    ])
}

#[tokio::test]
async fn obo_token_is_cached_by_assertion() {
    let (client, transport) =
        client([about_user("one", Some("rt")), about_user("two", None), about_user("three", None)]);
    let [assertion, other] = ["assertion", "another"].map(Secret::new);
    let first = client.on_behalf_of(&assertion, "api").await.unwrap();
    let again = client.on_behalf_of(&assertion, "api").await.unwrap();
    let of_other = client.on_behalf_of(&other, "api").await.unwrap();
    assert_eq!((first.secret().expose(), first.origin()), ("one", TokenOrigin::Network));
    assert_eq!((again.secret().expose(), again.origin()), ("one", TokenOrigin::Cache));
    assert_eq!((of_other.secret().expose(), of_other.origin()), ("two", TokenOrigin::Network));
    let exchange = |assertion: &str, scope: &str| {
        pairs(&[
            ("scope", scope),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion),
            ("requested_token_use", "on_behalf_of"),
            ("client_info", "1"),
        ])
    };
    // Other scopes use the assertion again, because its refresh token is dropped.
    client.on_behalf_of(&assertion, "zoo").await.unwrap();
    let account = first.account().unwrap();
    assert_eq!(account.id(), "uid.utid");
    assert_eq!(client.token_for_account(account, "api").await.unwrap_err().code(), "no_tokens_found");
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [
            exchange("assertion", "api offline_access openid profile"),
            exchange("another", "api offline_access openid profile"),
            exchange("assertion", "offline_access openid profile zoo"),
        ]
    );
}

#[tokio::test]
async fn refresh_token_of_assertion_is_dropped() {
    let clock = SharedClock::system();
    let store = MemoryStore::new(clock.clone());
    let cache = TokenCache::new(10, &Context::default().with_clock(clock)).with_store(store.clone());
    let transport = ScriptedTransport::new([about_user("one", Some("rt")), about_user("two", Some("rt"))]);
    let credential = ClientSecret::new(at_endpoint(), Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, transport).cache(cache).build();
    let assertion = Secret::new("assertion");
    client.on_behalf_of(&assertion, "api").await.unwrap();
    assert_eq!(store.len(), 1, "only the access token");
    client.start_session("session", &assertion, "api").await.unwrap();
    assert_eq!(store.len(), 3, "a session keeps its refresh token");
}

#[tokio::test]
async fn session_continues_with_its_refresh_token() {
    let (client, transport) = client([
        about_user("one", Some("rt-1")),
        about_user("two", Some("rt-2")),
        about_user("three", None),
        about_user("four", None),
        about_user("five", Some("rt-5")),
    ]);
    let assertion = Secret::new("assertion");
    let unknown = client.session_token("session", "api").await.unwrap_err();
    assert_eq!((unknown.code(), unknown.kind()), ("no_tokens_found", ErrorKind::Request));

    client.start_session("session", &assertion, "api").await.unwrap();
    let hit = client.session_token("session", "api").await.unwrap();
    assert_eq!((hit.secret().expose(), hit.origin()), ("one", TokenOrigin::Cache));
    for (scope, secret) in [("b", "two"), ("c", "three"), ("d", "four")] {
        let token = client.session_token("session", scope).await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, TokenOrigin::Network));
        assert_eq!(token.account().map(symbolon_token::Account::id), Some("uid.utid"));
    }
    assert_eq!(client.session_token("another", "b").await.unwrap_err().code(), "no_tokens_found");
    let restarted = client.start_session("session", &assertion, "api").await.unwrap();
    assert_eq!(restarted.secret().expose(), "five", "starting a session does not read the cache");

    let sent: Vec<_> = transport.requests()[1..4].iter().map(form).collect();
    assert_eq!(
        sent,
        [
            redemption("rt-1", &format!("b {USER}")),
            redemption("rt-2", &format!("c {USER}")),
            redemption("rt-2", &format!("d {USER}")),
        ],
        "the latest refresh token"
    );
}

#[tokio::test]
async fn ended_session_gets_no_new_tokens() {
    let (client, transport) = client([about_user("one", Some("rt"))]);
    client.start_session("session", &Secret::new("assertion"), "api").await.unwrap();
    assert!(!client.end_session("another").await.unwrap());
    assert!(client.end_session("session").await.unwrap());
    assert!(!client.end_session("session").await.unwrap(), "the session has already ended");
    assert_eq!(client.session_token("session", "b").await.unwrap_err().code(), "no_tokens_found");
    assert_eq!(client.session_token("session", "api").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn only_refused_refresh_token_is_removed() {
    let (client, transport) = client([
        about_user("one", Some("rt")),
        refused_response(400, "invalid_scope"),
        refused_response(503, "temporarily_unavailable"),
        refused_response(400, "invalid_grant"),
    ]);
    client.start_session("session", &Secret::new("assertion"), "api").await.unwrap();
    for code in ["invalid_scope", "temporarily_unavailable", "invalid_grant", "no_tokens_found"] {
        assert_eq!(client.session_token("session", "b").await.unwrap_err().code(), code);
    }
    assert_eq!(transport.requests().len(), 4);
}

#[tokio::test]
async fn code_tokens_belong_to_the_account() {
    let (client, transport) = client([
        about_user("one", Some("rt")),
        about_user("two", None),
        about_user("three", None),
        about_user("four", None),
    ]);
    let verifier = Secret::new("verifier");
    let redirect = "https://app.example/signed-in";
    let code = AuthorizationCode::new(Secret::new("code"), redirect);
    let token = client.redeem_code(&code.clone().with_verifier(verifier), "api").await.unwrap();
    let account = token.account().unwrap();
    assert_eq!((token.secret().expose(), account.id()), ("one", "uid.utid"));

    let hit = client.token_for_account(account, "api").await.unwrap();
    assert_eq!((hit.secret().expose(), hit.origin()), ("one", TokenOrigin::Cache));
    for (scope, secret) in [("b", "two"), ("c", "three")] {
        let other = client.token_for_account(account, scope).await.unwrap();
        assert_eq!((other.secret().expose(), other.origin()), (secret, TokenOrigin::Network));
        assert_eq!(other.account(), Some(account));
    }
    let again = client.redeem_code(&code, "api").await.unwrap();
    assert_eq!(again.secret().expose(), "four", "a code identifies no user before it is redeemed");

    let scope = format!("api {USER}");
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [
            pairs(&[
                ("scope", &scope),
                ("grant_type", "authorization_code"),
                ("code", "code"),
                ("redirect_uri", redirect),
                ("code_verifier", "verifier"),
                ("client_info", "1"),
            ]),
            redemption("rt", &format!("b {USER}")),
            redemption("rt", &format!("c {USER}")),
            pairs(&[
                ("scope", &scope),
                ("grant_type", "authorization_code"),
                ("code", "code"),
                ("redirect_uri", redirect),
                ("client_info", "1"),
            ]),
        ],
        "a response without a refresh token keeps the old one"
    );
}

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

#[tokio::test]
async fn foreign_refresh_token_is_redeemed() {
    let (client, transport) = client([about_user("one", Some("rotated")), about_user("two", None)]);
    let token = client.redeem_refresh_token(&Secret::new("imported"), "api").await.unwrap();
    let account = token.account().unwrap();
    assert_eq!(client.token_for_account(account, "api").await.unwrap().origin(), TokenOrigin::Cache);
    client.token_for_account(account, "b").await.unwrap();
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [redemption("imported", &format!("api {USER}")), redemption("rotated", &format!("b {USER}"))]
    );
}

#[tokio::test]
async fn parameters_go_to_body_or_query() {
    let (client, transport) = client([issued("plain"), issued("body"), issued("query"), issued("other")]);
    let get = async |name: &str, in_body: bool, value: &str, caching| {
        let request = client.token("a");
        let request = match in_body {
            true => request.body_parameter(name, value, caching),
            false => request.query_parameter(name, value, caching),
        };
        request.await.unwrap().secret().expose().to_owned()
    };
    assert_eq!(get("dc", true, "first", Caching::Unkeyed).await, "plain");
    assert_eq!(get("dc", true, "second", Caching::Unkeyed).await, "plain", "not part of the key");
    assert_eq!(get("dc", true, "first", Caching::Keyed).await, "body");
    assert_eq!(get("dc", false, "first", Caching::Keyed).await, "query", "a query parameter is different");
    assert_eq!(get("dc", false, "se&cond", Caching::Keyed).await, "other");
    assert_eq!(get("dc", true, "first", Caching::Keyed).await, "body");
    assert_eq!(get("dc", false, "first", Caching::Keyed).await, "query");
    let replaced = client.token("a").body_parameter("dc", "first", Caching::Keyed);
    let replaced = replaced.body_parameter("dc", "x", Caching::Unkeyed).await.unwrap();
    assert_eq!(replaced.secret().expose(), "plain", "the later of two values counts");

    let sent: Vec<_> = transport
        .requests()
        .iter()
        .map(|request| {
            let in_body = form(request).into_iter().find(|(name, _)| name == "dc").map(|(_, value)| value);
            (in_body, request.url().query().map(str::to_owned))
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        sent,
        [
            (text("first"), None),
            (text("first"), None),
            (None, text("dc=first")),
            (None, text("dc=se%26cond")),
        ]
    );
}

#[tokio::test]
async fn reserved_parameter_is_refused() {
    let (client, transport) = client([]);
    let own = form_names(&client, &transport).await;
    let others = ["client_assertion", "code", "refresh_token", "token_type", "username", "password", ""];
    for name in own.iter().map(String::as_str).chain(others) {
        let in_body = client.token("b").body_parameter(name, "x", Caching::Unkeyed).await;
        let in_query = client.token("b").query_parameter(name, "x", Caching::Keyed).await;
        for refused in [in_body, in_query] {
            let error = refused.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("invalid_parameter", ErrorKind::Request), "{name}");
        }
    }
    assert_eq!(transport.requests().len(), 1, "nothing was sent");
}

/// Returns the parameter names of a request with all options.
async fn form_names(client: &TokenClient, transport: &ScriptedTransport) -> Vec<String> {
    client.on_behalf_of(&Secret::new("x"), "a").claims("{}").await.unwrap_err();
    let requests = transport.requests();
    let names = url::form_urlencoded::parse(requests[0].body()).map(|(name, _)| name.into_owned());
    let names: Vec<String> = names.collect();
    assert!(names.len() > 6, "{names:?}");
    names
}

#[tokio::test]
async fn tenant_has_own_endpoint_and_cache_key() {
    let transport = ScriptedTransport::new([issued("own"), issued("other")]);
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap();
    let client = client_of(application, &transport);
    for (tenant, secret, source) in [
        (None, "own", TokenOrigin::Network),
        (Some("Fabrikam.example"), "other", TokenOrigin::Network),
        (None, "own", TokenOrigin::Cache),
        (Some("fabrikam.example"), "other", TokenOrigin::Cache),
        (Some("contoso.example"), "own", TokenOrigin::Cache),
    ] {
        let request = client.token("a");
        let request = match tenant {
            Some(tenant) => request.tenant(tenant),
            None => request,
        };
        let token = request.await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, source), "{tenant:?}");
        let expected = if secret == "own" { "contoso.example" } else { "fabrikam.example" };
        assert_eq!(token.tenant_id(), Some(expected));
    }
    let paths: Vec<_> = transport.requests().iter().map(|request| request.url().path().to_owned()).collect();
    assert_eq!(paths, ["/contoso.example/oauth2/v2.0/token", "/fabrikam.example/oauth2/v2.0/token"]);
}

#[tokio::test]
async fn fixed_endpoint_has_no_other_tenant() {
    let (client, transport) = client([issued("own")]);
    client.token("a").await.unwrap();
    let error = client.token("a").tenant("fabrikam.example").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_tenant", ErrorKind::Request));
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn callback_is_called_once_per_exchange() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let source = assertion_fn(move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        async move { Ok(SignedAssertion::new(Secret::new(format!("assertion {number}")))) }
    });
    let unavailable = || refused_response(503, "temporarily_unavailable");
    let transport = ScriptedTransport::new([unavailable(), unavailable(), issued("one"), issued("two")]);
    let client = TokenClient::builder(ClientAssertion::new(at_endpoint(), source), transport.clone())
        .context(Context::default().with_retry_scale(0.0))
        .build();
    let token = client.token("a").await.unwrap();
    assert_eq!((token.attempts(), made.load(Ordering::SeqCst)), (3, 1));
    assert_eq!(client.token("a").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(made.load(Ordering::SeqCst), 1, "a hit needs no assertion");
    client.token("b").await.unwrap();
    assert_eq!(assertions(&transport), ["assertion 0", "assertion 0", "assertion 0", "assertion 1"]);
}

fn assertions(transport: &ScriptedTransport) -> Vec<String> {
    let assertion = |request: &Request| {
        let found = form(request).into_iter().find(|(name, _)| name == "client_assertion");
        found.map(|(_, value)| value).unwrap()
    };
    transport.requests().iter().map(assertion).collect()
}

/// A file that is removed when the test ends.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(CorrelationId::random().to_string());
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn client(&self, transport: &ScriptedTransport) -> TokenClient {
        let credential = ClientAssertion::new(at_endpoint(), WorkloadIdentity::new(&self.0));
        TokenClient::builder(credential, transport.clone())
            .retry(RetryPolicy::once())
            .context(Context::default().with_env(Env::empty()))
            .build()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn federated_token_file_is_read_each_time() {
    let file = TokenFile::new(" first\n");
    let transport = ScriptedTransport::new([issued("one"), issued("two")]);
    let client = file.client(&transport);
    client.token("a").await.unwrap();
    std::fs::write(&file.0, "second").unwrap();
    assert_eq!(client.token("a").await.unwrap().origin(), TokenOrigin::Cache);
    client.token("b").await.unwrap();
    assert_eq!(assertions(&transport), ["first", "second"]);
}

#[tokio::test]
async fn invalid_federated_token_file_is_refused() {
    /// The maximum size of a token file.
    const LIMIT: usize = 64 * 1024;
    let transport = ScriptedTransport::new([issued("one")]);
    let missing = TokenFile::new("");
    std::fs::remove_file(&missing.0).unwrap();
    for (case, file, expected) in [
        ("missing", missing, "No such file"),
        ("empty", TokenFile::new(" \n"), "the file is empty"),
        ("only a mark", TokenFile::new("\u{feff}\n"), "the file is empty"),
        ("oversized", TokenFile::new("x".repeat(LIMIT + 1)), "the file is larger than 65536 bytes"),
        ("not a text", TokenFile::new(b"\xff\xfea\0"), "the file is not text in UTF-8"),
        ("two lines", TokenFile::new("one\ntwo"), "the file has more than one line"),
        ("quoted", TokenFile::new("\"eyJ.e30.c2ln\"\n"), "in quotes or in JSON"),
        ("quoted otherwise", TokenFile::new("'eyJ.e30.c2ln'"), "in quotes or in JSON"),
        ("an object", TokenFile::new(r#"{"value":"eyJ.e30.c2ln"}"#), "in quotes or in JSON"),
    ] {
        let error = file.client(&transport).token("a").await.unwrap_err();
        let facts = (error.code(), error.kind());
        assert_eq!(facts, ("invalid_client_assertion", ErrorKind::Credential), "{case}");
        assert!(error.correlation_id().is_some() && !error.advice().is_empty(), "{case}");
        assert!(error.to_string().contains(file.0.to_str().unwrap()), "{case} {error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{case}: {cause}");
    }
    assert!(transport.requests().is_empty());
    TokenFile::new("x".repeat(LIMIT)).client(&transport).token("a").await.unwrap();
    assert_eq!(assertions(&transport)[0].len(), LIMIT);
}

#[test]
fn missing_variable_is_named() {
    let all = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
    ];
    assert!(WorkloadIdentity::from_env(&all.into_iter().collect()).is_ok());
    for (missing, _) in all {
        let env: Env = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let error: Error = WorkloadIdentity::from_env(&env).unwrap_err();
        let facts = (error.code(), error.kind());
        assert_eq!(facts, ("workload_identity_unavailable", ErrorKind::Environment));
        assert!(error.to_string().contains(&format!("{missing} is not set")), "{error}");
    }
}

#[test]
fn copied_variable_is_named() {
    let all = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ];
    for (name, value, code, message) in [
        ("AZURE_CLIENT_ID", "\"client\"", "invalid_client_credential", "the client id is in quotes"),
        ("AZURE_CLIENT_ID", "client\n", "invalid_client_credential", "the client id ends with a line break"),
        ("AZURE_TENANT_ID", "'contoso.example'", "invalid_tenant", "the tenant is in quotes"),
        ("AZURE_TENANT_ID", "contoso.example\r\n", "invalid_tenant", "the tenant ends with a line break"),
        ("AZURE_AUTHORITY_HOST", "\"https://x\"", "invalid_authority", "the authority is in quotes"),
        ("AZURE_AUTHORITY_HOST", "http://login.example", "invalid_authority", "is not an https URL"),
    ] {
        let env: Env = all.into_iter().chain([(name, value)]).collect();
        let error: Error = WorkloadIdentity::from_env(&env).unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Request), "{name}={value:?}");
        assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn authority_is_read_from_the_environment() {
    // Editors on Windows add a byte order mark and a line break.
    let file = TokenFile::new("\u{feff}federated\r\n");
    for (host, expected) in [
        (
            Some("login.microsoftonline.us"),
            "https://login.microsoftonline.us/contoso.example/oauth2/v2.0/token",
        ),
        (None, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"),
        (
            Some("https://login.microsoftonline.us/"),
            "https://login.microsoftonline.us/contoso.example/oauth2/v2.0/token",
        ),
    ] {
        let variables = [
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "contoso.example"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.0.to_str().unwrap()),
        ];
        let env = variables.into_iter().chain(host.map(|host| ("AZURE_AUTHORITY_HOST", host))).collect();
        let transport = ScriptedTransport::new([issued("one")]);
        let credential = WorkloadIdentity::from_env(&env).unwrap();
        let client = TokenClient::builder(credential, transport.clone()).build();
        let token = client.token("a").await.unwrap();
        assert_eq!((token.client_id(), token.tenant_id()), (Some("client"), Some("contoso.example")));
        assert_eq!(transport.requests()[0].url().as_str(), expected);
        assert_eq!(assertions(&transport), ["federated"]);
    }
}

/// A server may repeat the secrets of a request in its error, in the code and in any text, whatever
/// their length and encoding.
#[tokio::test]
async fn repeated_secrets_are_not_shown() {
    const SECRETS: [&str; 8] =
        ["s3cr3t", "a b&c\"d", "assert1", "user.1", "the.code", "verif1er", "refresh+1", "7000215"];
    // The text of the response, made of the body of the request and the value of a parameter.
    type Repeat = fn(&str, &str) -> serde_json::Value;
    let repeats: [Repeat; 5] = [
        |_, value| serde_json::json!({"error": value, "error_description": format!("<{value}> is wrong")}),
        |_, value| serde_json::json!({"error": format!("bad_{}", value.to_ascii_uppercase())}),
        |body, _| serde_json::json!({"error": "invalid_grant", "error_description": body}),
        |_, value| serde_json::json!({"error": "x", "error_codes": [value], "suberror": value}),
        |body, value| serde_json::json!({"message": format!("{body} <{value}>")}),
    ];
    for repeat in repeats {
        for of in 0..12 {
            let transport = transport_fn(move |request: Request| async move {
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                let parameters: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let (_, value) = &parameters[of % parameters.len()];
                answer(400, repeat(&body, value))
            });
            let client = |credential: ClientSecret| {
                TokenClient::builder(credential, transport.clone()).retry(RetryPolicy::once()).build()
            };
            let mut errors = Vec::new();
            for secret in ["s3cr3t", "a b&c\"d", "7000215"] {
                let client = client(ClientSecret::new(at_endpoint(), Secret::new(secret)).unwrap());
                errors.push(client.token("api").await.unwrap_err());
                errors.push(client.on_behalf_of(&Secret::new("user.1"), "api").await.unwrap_err());
                let refresh_token = Secret::new("refresh+1");
                errors.push(client.redeem_refresh_token(&refresh_token, "api").await.unwrap_err());
                let code = AuthorizationCode::new(Secret::new("the.code"), "https://app.example/".to_owned());
                let code = code.with_verifier(Secret::new("verif1er"));
                errors.push(client.redeem_code(&code, "api").await.unwrap_err());
            }
            let source =
                assertion_fn(|_| async { Ok::<_, Error>(SignedAssertion::new(Secret::new("assert1"))) });
            let asserting =
                TokenClient::builder(ClientAssertion::new(at_endpoint(), source), transport.clone());
            errors.push(asserting.retry(RetryPolicy::once()).build().token("api").await.unwrap_err());
            for error in errors {
                let shown = format!("{error} {error:?} {error:#?} {} {:?}", error.code(), error.excerpt());
                let shown = shown.to_lowercase();
                for secret in SECRETS.map(str::to_owned).into_iter().chain(SECRETS.map(encoded)) {
                    assert!(!shown.contains(&secret.to_lowercase()), "{secret}: {shown}");
                }
            }
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
