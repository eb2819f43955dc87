//! Bound tokens whose certificate was replaced, over a scripted transport.

#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use symbolon_token::{
    Application, CacheIdentity, ClientAssertion, ClientAuth, CredentialRejection, CredentialRequest,
    CredentialSource, Error, Partition, SignedAssertion, Token, TokenClient, TokenClientBuilder,
    TokenEndpoint, TokenOrigin, assertion_fn,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, RetryPolicy, TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, Jitter, ManualClock, Secret, SharedClock, SharedSigningKey};

const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";
const MINUTE: Duration = Duration::from_secs(60);

type HttpResult = Result<Response, TransportError>;

fn issued(token: &str) -> HttpResult {
    let body = format!(r#"{{"token_type":"mtls_pop","access_token":"{token}","expires_in":7200}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

fn refused(error: &str, code: u32) -> HttpResult {
    let body = format!(r#"{{"error":"{error}","error_codes":[{code}]}}"#);
    Ok(Response::new(StatusCode::UNAUTHORIZED, body))
}

fn unreachable() -> HttpResult {
    Err(TransportErrorKind::Connect.into())
}

/// A lost connection, with its cause as the default transport reports it.
fn lost() -> HttpResult {
    let cause = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Err(TransportError::new(TransportErrorKind::IdentityRejected).with_source(cause))
}

/// An alert, with its cause as the default transport reports it.
fn alert() -> HttpResult {
    let cause = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, "revoked"));
    Err(TransportError::new(TransportErrorKind::IdentityRejected).with_source(cause))
}

fn identity() -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
    ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
}

/// A credential with a current certificate, or none, which the test replaces.
#[derive(Clone, Debug)]
struct Rotating {
    current: Arc<Mutex<Option<ClientIdentity>>>,
    partition: Arc<Mutex<Partition>>,
    /// The successor of a refused certificate.
    successor: Option<ClientIdentity>,
}

impl Rotating {
    fn new(current: &ClientIdentity) -> Self {
        Self {
            current: Arc::new(Mutex::new(Some(current.clone()))),
            partition: Arc::new(Mutex::new(Partition::new("client"))),
            successor: None,
        }
    }

    fn set(&self, current: Option<&ClientIdentity>) {
        *self.current.lock().unwrap() = current.cloned();
    }
}

impl CredentialSource for Rotating {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
        let Some(current) = self.current.lock().unwrap().clone() else {
            return Err(Error::new(symbolon_types::ErrorKind::Network, "no_certificate", "not issued"));
        };
        let auth = ClientAuth::new("client", endpoint, self.partition.lock().unwrap().clone());
        Ok(auth.with_proof_of_possession(current))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        self.set(self.successor.as_ref());
        self.successor.is_some()
    }
}

/// A rotating credential that states its partition, and whether it has a certificate.
#[derive(Debug)]
struct Stated {
    credential: Rotating,
    partition: Partition,
}

impl CredentialSource for Stated {
    fn cache_identity<'a>(&'a self, _request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        let identity = CacheIdentity::bearer(&self.partition);
        Some(match self.credential.current.lock().unwrap().clone() {
            Some(current) => identity.bound_to(std::borrow::Cow::Owned(current)),
            None => identity.awaiting_certificate(),
        })
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        self.credential.authenticate(request).await
    }

    async fn refused(&self, used: &ClientAuth, why: &CredentialRejection) -> bool {
        self.credential.refused(used, why).await
    }
}

fn builder(
    credential: impl CredentialSource,
    clock: &ManualClock,
    transport: &ScriptedTransport,
) -> TokenClientBuilder {
    let context = Context::default().with_clock(SharedClock::from(clock)).with_jitter(Jitter::fixed(0.0));
    TokenClient::builder(credential, transport.clone()).retry(RetryPolicy::once()).context(context)
}

async fn token(client: &TokenClient) -> Result<Token, Error> {
    let token = client.token("a").proof_of_possession().await;
    // Background tasks run on this thread.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    token
}

fn facts(token: &Token) -> (&str, Option<&ClientIdentity>, TokenOrigin) {
    (token.secret().expose(), token.bound_to(), token.origin())
}

#[tokio::test]
async fn predecessor_is_served_until_replaced() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), unreachable(), unreachable(), issued("new")]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    // Back-off: the second attempt follows after 30 seconds, the third after a minute.
    for (wait, requests) in [(0, 2), (29, 2), (1, 3), (59, 3), (1, 4)] {
        clock.advance(Duration::from_secs(wait));
        assert_eq!(facts(&token(&client).await.unwrap()), ("old", Some(&old), TokenOrigin::Cache));
        assert_eq!(transport.requests().len(), requests, "{wait}");
    }
    assert_eq!(transport.requests()[3].identity(), Some(&new));
    assert_eq!(facts(&token(&client).await.unwrap()), ("new", Some(&new), TokenOrigin::Cache));
}

#[tokio::test]
async fn hundred_callers_share_one_successor() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), unreachable()]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    for served in futures_util::future::join_all((0..100).map(|_| token(&client))).await {
        assert_eq!(served.unwrap().bound_to(), Some(&old));
    }
    assert_eq!(transport.requests().len(), 2);
}

#[test]
fn caller_without_runtime_waits_for_successor() {
    let (old, new, newest) = (identity(), identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), unreachable(), issued("newest")]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    let token = || client.token("a").proof_of_possession().into_future().now_or_never().unwrap().unwrap();
    token();
    credential.set(Some(&new));
    assert_eq!(facts(&token()), ("old", Some(&old), TokenOrigin::Cache));
    clock.advance(MINUTE);
    credential.set(Some(&newest));
    assert_eq!(facts(&token()), ("newest", Some(&newest), TokenOrigin::Network));
}

/// A runtime that is no longer driven after it has started the exchange for the successor.
#[test]
fn idle_runtime_does_not_keep_successor() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, driven) = (runtime(), runtime());
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), issued("new")]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    idle.block_on(token(&client)).unwrap();
    credential.set(Some(&new));
    idle.block_on(client.token("a").proof_of_possession().into_future()).unwrap();
    assert_eq!(transport.requests().len(), 1, "the exchange has not been polled");
    for wait in [Duration::ZERO, MINUTE] {
        clock.advance(wait);
        let served = driven.block_on(token(&client)).unwrap();
        assert_eq!(facts(&served), ("old", Some(&old), TokenOrigin::Cache), "{wait:?}");
    }
    let served = driven.block_on(token(&client)).unwrap();
    assert_eq!(facts(&served), ("new", Some(&new), TokenOrigin::Cache));
}

#[tokio::test]
async fn missing_certificate_is_awaited() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), issued("new")]);
    let credential = Rotating::new(&old);
    let stated = Stated { credential: credential.clone(), partition: Partition::new("client") };
    let client = builder(stated, &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(None);
    for _ in 0..3 {
        assert_eq!(facts(&token(&client).await.unwrap()), ("old", Some(&old), TokenOrigin::Cache));
        clock.advance(5 * MINUTE);
    }
    assert_eq!(client.token("b").proof_of_possession().await.unwrap_err().code(), "no_certificate");
    credential.set(Some(&new));
    token(&client).await.unwrap();
    assert_eq!(facts(&token(&client).await.unwrap()), ("new", Some(&new), TokenOrigin::Cache));
}

#[tokio::test]
async fn assertion_keeps_token_of_last_certificate() {
    let certificates = [identity(), identity()];
    let current = Arc::new(Mutex::new(certificates[0].clone()));
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), unreachable(), unreachable(), issued("new")]);
    let application = Application::at(TokenEndpoint::parse(ENDPOINT).unwrap(), "client").unwrap();
    let binding = Arc::clone(&current);
    let source = assertion_fn(move |_| {
        let identity = binding.lock().unwrap().clone();
        async { Ok(SignedAssertion::new(Secret::new("assertion")).bound_to(identity)) }
    });
    let client = builder(ClientAssertion::new(application, source), &clock, &transport).build();
    token(&client).await.unwrap();
    // The refresh finds the new certificate, and fails.
    *current.lock().unwrap() = certificates[1].clone();
    clock.advance(116 * MINUTE);
    for _ in 0..2 {
        assert_eq!(token(&client).await.unwrap().secret().expose(), "old");
    }
    assert_eq!(transport.requests().len(), 3, "the refresh, and the successor");
    clock.advance(MINUTE);
    token(&client).await.unwrap();
    assert_eq!(facts(&token(&client).await.unwrap()), ("new", Some(&certificates[1]), TokenOrigin::Cache));
}

#[tokio::test]
async fn predecessor_expires() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new([issued("old"), unreachable(), unreachable()]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    clock.advance(119 * MINUTE);
    token(&client).await.unwrap();
    clock.advance(MINUTE);
    assert_eq!(token(&client).await.unwrap_err().code(), "transport_error");
}

#[tokio::test]
async fn predecessor_belongs_to_one_request() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let answers = [issued("old")].into_iter().chain((0..8).map(|_| unreachable()));
    let transport = ScriptedTransport::new(answers);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    let request = || client.token("a").proof_of_possession();
    let user = Secret::new("of a user");
    assert!(client.token("b").proof_of_possession().await.is_err());
    assert!(request().claims_from_client(r#"{"a":1}"#).await.is_err());
    assert!(client.on_behalf_of(&user, "a").proof_of_possession().await.is_err());
    assert!(request().force_refresh().await.is_err());
    assert!(request().claims(r#"{"a":1}"#).await.is_err());
    // Nor to another caller whom the credential stands for, or to another client.
    let other = builder(Rotating::new(&new), &clock, &transport).cache(client.cache().clone()).build();
    assert!(token(&other).await.is_err());
    *credential.partition.lock().unwrap() = Partition::new("another caller");
    assert!(token(&client).await.is_err());
    *credential.partition.lock().unwrap() = Partition::new("client");
    assert_eq!(token(&client).await.unwrap().secret().expose(), "old");
}

#[tokio::test]
async fn refusal_decides_about_the_tokens() {
    for (case, answer, is_kept) in [
        ("lost", lost(), true),
        ("alert", alert(), false),
        ("token_not_after", refused("invalid_request", 1_000_901), true),
        ("revoked", refused("invalid_client", 1_000_610), false),
        ("expired secret", refused("invalid_client", 7_000_222), true),
    ] {
        let (old, new) = (identity(), identity());
        let transport =
            ScriptedTransport::new([issued("old"), answer, unreachable(), unreachable(), unreachable()]);
        let credential = Rotating { successor: Some(new), ..Rotating::new(&old) };
        let clock = ManualClock::new();
        let client = builder(credential, &clock, &transport).build();
        token(&client).await.unwrap();
        assert!(client.token("b").proof_of_possession().await.is_err());
        assert_eq!(token(&client).await.is_ok(), is_kept, "{case}");
    }
}

#[tokio::test]
async fn resource_decides_about_the_tokens() {
    for (case, answer, is_kept) in [("lost", lost(), true), ("alert", alert(), false)] {
        let (old, new) = (identity(), identity());
        let transport = ScriptedTransport::new([issued("old"), answer, unreachable()]);
        let credential = Rotating::new(&old);
        let client = builder(credential.clone(), &ManualClock::new(), &transport).build();
        let bound = token(&client).await.unwrap();
        let request = http::Request::get("https://vault.example/").body(bytes::Bytes::new()).unwrap();
        assert!(client.call(&bound, request).await.is_err());
        assert!(token(&client).await.is_ok(), "the current certificate");
        credential.set(Some(&new));
        assert_eq!(token(&client).await.is_ok(), is_kept, "{case}");
    }
}

#[tokio::test]
async fn invalidated_predecessor_is_not_served() {
    let (old, new) = (identity(), identity());
    let transport = ScriptedTransport::new([issued("old"), unreachable(), unreachable()]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &ManualClock::new(), &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    let served = token(&client).await.unwrap();
    assert!(client.invalidate(&served));
    assert!(token(&client).await.is_err());
}

#[tokio::test]
async fn invalidated_successor_has_no_predecessor() {
    let (old, new) = (identity(), identity());
    let transport = ScriptedTransport::new([issued("old"), issued("new"), unreachable()]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &ManualClock::new(), &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    token(&client).await.unwrap();
    let successor = token(&client).await.unwrap();
    assert_eq!(successor.bound_to(), Some(&new));
    assert!(client.invalidate(&successor));
    assert!(token(&client).await.is_err(), "the older token was replaced");
}

#[tokio::test]
async fn successor_waits_for_retry_after() {
    let (old, new) = (identity(), identity());
    let clock = ManualClock::new();
    let headers: HeaderMap =
        [(http::header::RETRY_AFTER, HeaderValue::from_static("600"))].into_iter().collect();
    let busy = Response::new(StatusCode::TOO_MANY_REQUESTS, "").with_headers(headers);
    let transport = ScriptedTransport::new([issued("old"), Ok(busy), issued("new")]);
    let credential = Rotating::new(&old);
    let client = builder(credential.clone(), &clock, &transport).build();
    token(&client).await.unwrap();
    credential.set(Some(&new));
    for _ in 0..10 {
        assert_eq!(token(&client).await.unwrap().bound_to(), Some(&old));
        clock.advance(MINUTE - Duration::from_millis(1));
    }
    assert_eq!(transport.requests().len(), 2);
    clock.advance(MINUTE);
    token(&client).await.unwrap();
    assert_eq!(token(&client).await.unwrap().bound_to(), Some(&new));
}
