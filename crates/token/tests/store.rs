//! A cache with a store behind it, as several processes would share it.

#![cfg(test)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Account, Application, AuthorizationCode, CacheKey, CacheStore, ClientAuth, ClientSecret,
    CredentialRequest, CredentialSource, Error, ErrorKind, Expiry, Fetched, MemoryStore, Partition,
    Precondition, PutOutcome, Refusal, Resolution, StoredEntry, Token, TokenCache, TokenClient,
    TokenEndpoint, TokenSource,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, RetryPolicy, Transport, TransportError, transport_fn};
use symbolon_types::{
    ClientIdentity, CorrelationId, Jitter, ManualClock, Secret, SharedClock, SharedSigningKey,
};

const SCOPE: &str = "https://graph.example/.default";
const HOUR: Duration = Duration::from_secs(3600);

/// Machines with one store; each process has a cache of its own.
struct World {
    hands: ManualClock,
    clock: SharedClock,
    store: MemoryStore,
}

impl World {
    fn new() -> Self {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        Self { hands, store: MemoryStore::new(clock.clone()), clock }
    }

    fn cache(&self) -> TokenCache {
        TokenCache::new(100, self.clock.clone(), Jitter::fixed(0.0)).with_store(self.store.clone())
    }

    fn process(&self, transport: &ScriptedTransport) -> TokenClient {
        self.process_with(transport, self.cache())
    }

    fn process_with(&self, transport: &ScriptedTransport, cache: TokenCache) -> TokenClient {
        self.process_over(transport.clone(), cache)
    }

    fn process_over(&self, transport: impl Transport, cache: TokenCache) -> TokenClient {
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
        let application = Application::new(authority, "client").unwrap();
        let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
        TokenClient::builder(credential, transport)
            .clock(self.clock.clone())
            .cache(cache)
            .retry(RetryPolicy::once())
            .build()
    }
}

fn granted(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

/// `client_info` of the user `u` in the tenant `t`.
fn granted_with_refresh_token(token: &str, refresh_token: &str) -> Result<Response, TransportError> {
    let body = format!(
        r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600,
            "refresh_token":"{refresh_token}","client_info":"eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ"}}"#
    );
    Ok(Response::new(StatusCode::OK, body))
}

fn sent_refresh_tokens(transport: &ScriptedTransport) -> Vec<String> {
    let value = |body: &Bytes| {
        let mut form = url::form_urlencoded::parse(body).into_owned();
        form.find(|(name, _)| name == "refresh_token").map(|(_, value)| value)
    };
    transport.requests().iter().filter_map(|request| value(request.body())).collect()
}

fn shown(token: &Token) -> (&str, TokenSource) {
    (token.secret().expose(), token.source())
}

#[tokio::test]
async fn a_token_that_another_process_got_is_served_from_the_store() {
    let world = World::new();
    let first = world.process(&ScriptedTransport::new([granted("one")]));
    let second = world.process(&ScriptedTransport::new([]));
    let issued = first.token(SCOPE).await.unwrap();
    let stored = second.token(SCOPE).await.unwrap();
    assert_eq!(shown(&stored), ("one", TokenSource::Cache));
    assert_eq!(stored.correlation_id(), issued.correlation_id());
    assert_eq!((stored.audience(), stored.client_id()), (SCOPE, Some("client")));
    assert_eq!(stored.tenant_id(), Some("contoso.example"));
    // From now on it is in memory.
    world.store.remove(&world.store.keys()[0], Precondition::None).now_or_never().unwrap().unwrap();
    assert_eq!(shown(&second.token(SCOPE).await.unwrap()), ("one", TokenSource::Cache));
}

#[tokio::test]
async fn an_entry_ends_with_its_token() {
    let world = World::new();
    world.process(&ScriptedTransport::new([granted("one")])).token(SCOPE).await.unwrap();
    world.hands.advance(HOUR - Duration::from_secs(1));
    let key = world.store.keys().remove(0);
    assert!(world.store.get(&key).await.unwrap().is_some());
    world.hands.advance(Duration::from_secs(1));
    assert!(world.store.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn what_does_not_want_a_cached_token_writes_to_the_store_without_reading_it() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted("one"), granted("forced"), granted("claimed")]);
    world.process(&transport).token(SCOPE).await.unwrap();
    let forced = world.process(&transport).token(SCOPE).force_refresh().await.unwrap();
    assert_eq!(shown(&forced), ("forced", TokenSource::Network));
    assert_eq!(shown(&world.process(&transport).token(SCOPE).await.unwrap()), ("forced", TokenSource::Cache));
    let claims = r#"{"access_token":{"acrs":{"value":"c1"}}}"#;
    let claimed = world.process(&transport).token(SCOPE).claims(claims).await.unwrap();
    assert_eq!(shown(&claimed), ("claimed", TokenSource::Network));
    assert_eq!(
        shown(&world.process(&transport).token(SCOPE).await.unwrap()),
        ("claimed", TokenSource::Cache)
    );
}

#[tokio::test]
async fn other_tenants_claims_and_scopes_have_other_entries() {
    let world = World::new();
    let transport = ScriptedTransport::new(["a", "b", "c", "d"].map(granted));
    let process = world.process(&transport);
    process.token(SCOPE).await.unwrap();
    process.token("other").await.unwrap();
    process.token(SCOPE).tenant("fabrikam.example").await.unwrap();
    process.token(SCOPE).claims_from_client(r#"{"access_token":{}}"#).await.unwrap();
    assert_eq!(world.store.len(), 4);
    let other = world.process(&ScriptedTransport::new([]));
    let token = other.token(SCOPE).tenant("fabrikam.example").await.unwrap();
    assert_eq!(shown(&token), ("c", TokenSource::Cache));
}

#[tokio::test]
async fn a_renewal_takes_the_token_that_another_process_renewed_and_no_other() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted("old"), granted("new")]);
    let (first, second) = (world.process(&transport), world.process(&transport));
    assert_eq!(shown(&first.token(SCOPE).await.unwrap()), ("old", TokenSource::Network));
    assert_eq!(shown(&second.token(SCOPE).await.unwrap()), ("old", TokenSource::Cache));
    // Due in both. What is in the store is due as well, so the first one to ask fetches.
    world.hands.advance(HOUR - Duration::from_secs(4 * 60));
    for process in [&first, &second] {
        assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "old", "renewed in the background");
        let_the_background_run().await;
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("new", TokenSource::Cache));
    }
    assert_eq!(transport.requests().len(), 2, "the second one took it from the store");
}

#[tokio::test]
async fn a_renewal_is_not_satisfied_by_another_token_that_is_due_as_well() {
    let world = World::new();
    let process = world.process(&ScriptedTransport::new([granted("one"), granted("three")]));
    process.token(SCOPE).await.unwrap();
    let other = world.process(&ScriptedTransport::new([granted("two")]));
    other.token(SCOPE).force_refresh().await.unwrap();
    world.hands.advance(HOUR - Duration::from_secs(4 * 60));
    assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "one");
    let_the_background_run().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("three", TokenSource::Cache));
}

#[tokio::test]
async fn processes_with_one_token_renew_it_at_moments_of_their_own() {
    let world = World::new();
    world.process(&ScriptedTransport::new([granted("one")])).token(SCOPE).await.unwrap();
    let early = TokenCache::new(100, world.clock.clone(), Jitter::fixed(1.0)).with_store(world.store.clone());
    let process = world.process_with(&ScriptedTransport::new([granted("two")]), early);
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("one", TokenSource::Cache));
    // Due for this process, and by the store's word not yet: that is the token that it has.
    world.hands.advance(Duration::from_secs(53 * 60));
    assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "one");
    let_the_background_run().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenSource::Cache));
}

#[tokio::test]
async fn a_stored_token_that_is_due_is_served_and_renewed() {
    let world = World::new();
    world.process(&ScriptedTransport::new([granted("old")])).token(SCOPE).await.unwrap();
    world.hands.advance(HOUR - Duration::from_secs(4 * 60));
    let process = world.process(&ScriptedTransport::new([granted("new")]));
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("old", TokenSource::Cache));
    world.hands.advance(Duration::from_secs(1));
    process.token(SCOPE).await.unwrap();
    let_the_background_run().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("new", TokenSource::Cache));
}

/// On this one thread, nobody else is left to run when it is our turn so often.
async fn let_the_background_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn settle(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it does not come to that");
}

#[tokio::test]
async fn a_token_that_was_refused_does_not_come_back_from_the_store() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted("revoked"), granted("good")]);
    let process = world.process(&transport);
    let revoked = process.token(SCOPE).await.unwrap();
    assert!(process.invalidate(&revoked));
    // Not even before it is removed there.
    assert_eq!(world.store.len(), 1);
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("good", TokenSource::Network));
    let other = world.process(&ScriptedTransport::new([]));
    assert_eq!(shown(&other.token(SCOPE).await.unwrap()), ("good", TokenSource::Cache));
    // The removal of the old one leaves the new one alone.
    let_the_background_run().await;
    assert_eq!(world.store.len(), 1);
}

#[tokio::test]
async fn an_invalidated_token_is_removed_from_the_store_in_the_background() {
    let world = World::new();
    let process = world.process(&ScriptedTransport::new([granted("revoked")]));
    let revoked = process.token(SCOPE).await.unwrap();
    process.invalidate(&revoked);
    settle(|| world.store.is_empty()).await;
}

#[tokio::test]
async fn entries_that_are_damaged_or_foreign_are_fetched_anew_and_replaced() {
    for entry in [&b""[..], b"\x01", b"\x02{}", b"not ours", b"\x01{\"secret\":7}", &[0xff; 4096]] {
        let world = World::new();
        world.process(&ScriptedTransport::new([granted("one")])).token(SCOPE).await.unwrap();
        let key = world.store.keys().remove(0);
        world.store.put(&key, entry, HOUR, Precondition::None).await.unwrap();
        let process = world.process(&ScriptedTransport::new([granted("two")]));
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenSource::Network), "{entry:?}");
        let process = world.process(&ScriptedTransport::new([]));
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenSource::Cache), "{entry:?}");
    }
}

#[tokio::test]
async fn an_entry_that_was_copied_to_another_key_is_not_read_there() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted("for graph"), granted("for vault"), granted("again")]);
    let process = world.process(&transport);
    process.token("graph").await.unwrap();
    let graph = world.store.keys().remove(0);
    process.token("vault").await.unwrap();
    let vault = world.store.keys().into_iter().find(|key| *key != graph).unwrap();
    let entry = world.store.get(&graph).await.unwrap().unwrap();
    world.store.put(&vault, entry.bytes(), HOUR, Precondition::None).await.unwrap();
    let token = world.process(&transport).token("vault").await.unwrap();
    assert_eq!(shown(&token), ("again", TokenSource::Network));
}

/// A store that fails, or never answers.
#[derive(Debug)]
struct Broken {
    answers: bool,
    calls: Arc<AtomicUsize>,
}

impl Broken {
    async fn fail<T>(&self) -> Result<T, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if !self.answers {
            std::future::pending::<()>().await;
        }
        Err(Error::new(ErrorKind::Environment, "store_unavailable", "the store is down"))
    }
}

impl CacheStore for Broken {
    async fn get(&self, _: &str) -> Result<Option<StoredEntry>, Error> {
        self.fail().await
    }

    async fn put(&self, _: &str, _: &[u8], _: Duration, _: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.fail().await
    }

    async fn remove(&self, _: &str, _: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.fail().await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_store_that_fails_fails_no_request() {
    let world = World::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let cache = TokenCache::new(100, world.clock.clone(), Jitter::fixed(0.0))
        .with_store(Broken { answers: true, calls: Arc::clone(&calls) });
    let transport = ScriptedTransport::new([granted_with_refresh_token("one", "rt"), granted("two")]);
    let process = world.process_with(&transport, cache);
    let token = process
        .redeem_code(&AuthorizationCode::new(Secret::new("code"), "https://app.example"), "a")
        .await
        .unwrap();
    assert_eq!(shown(&token), ("one", TokenSource::Network));
    let account = token.account().unwrap();
    // The refresh token is in memory.
    let token = process.token_for_account(account, "b").await.unwrap();
    assert_eq!(shown(&token), ("two", TokenSource::Network));
    assert!(calls.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn a_store_that_does_not_answer_delays_a_request_by_two_seconds_at_most_each_way() {
    let world = World::new();
    let cache = TokenCache::new(100, world.clock.clone(), Jitter::fixed(0.0))
        .with_store(Broken { answers: false, calls: Arc::default() });
    let process = world.process_with(&ScriptedTransport::new([granted("one")]), cache);
    let began = world.clock.now();
    let mut request = std::pin::pin!(process.token(SCOPE).into_future());
    let token = loop {
        if let Some(token) = (&mut request).now_or_never() {
            break token.unwrap();
        }
        assert_eq!(world.hands.advance_to_next(), Some(Duration::from_secs(2)));
    };
    assert_eq!(shown(&token), ("one", TokenSource::Network));
    assert_eq!(world.clock.now().duration_since(began).unwrap(), Duration::from_secs(4));
    assert_eq!(process.token(SCOPE).await.unwrap().source(), TokenSource::Cache, "a hit asks no store");
}

/// Gets a user's first tokens.
async fn sign_in(process: &TokenClient) -> Account {
    let token = process
        .redeem_code(&AuthorizationCode::new(Secret::new("code"), "https://app.example"), "a")
        .await
        .unwrap();
    token.account().unwrap().clone()
}

#[tokio::test]
async fn a_user_who_signed_in_at_one_process_is_known_to_the_others() {
    let world = World::new();
    let first = world.process(&ScriptedTransport::new([granted_with_refresh_token("one", "rt1")]));
    let account = sign_in(&first).await;
    let transport = ScriptedTransport::new([granted("two")]);
    let second = world.process(&transport);
    assert_eq!(shown(&second.token_for_account(&account, "a").await.unwrap()), ("one", TokenSource::Cache));
    let token = second.token_for_account(&account, "b").await.unwrap();
    assert_eq!(shown(&token), ("two", TokenSource::Network));
    assert_eq!(token.account().map(Account::id), Some("u.t"));
    assert_eq!(sent_refresh_tokens(&transport), ["rt1"]);
}

#[tokio::test]
async fn the_refresh_token_that_was_issued_last_is_used_wherever_it_was_issued() {
    let world = World::new();
    let first_transport =
        ScriptedTransport::new([granted_with_refresh_token("one", "rt1"), granted("three")]);
    let first = world.process(&first_transport);
    let account = sign_in(&first).await;
    world.hands.advance(Duration::from_secs(1));
    let second = world.process(&ScriptedTransport::new([granted_with_refresh_token("two", "rt2")]));
    second.token_for_account(&account, "b").await.unwrap();
    // The first process holds the old one in memory.
    first.token_for_account(&account, "c").await.unwrap();
    assert_eq!(sent_refresh_tokens(&first_transport), ["rt2"]);
}

/// What somebody else writes, and under which key.
type Rival = (String, Vec<u8>);

/// A store in which somebody else writes between a read and the next write, once.
#[derive(Debug, Clone)]
struct Raced {
    store: MemoryStore,
    rival: Arc<Mutex<Option<Rival>>>,
}

impl CacheStore for Raced {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        self.store.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let rival = {
            let mut rival = self.rival.lock().unwrap();
            rival.take_if(|(rivals_key, _)| rivals_key == key)
        };
        if let Some((_, rivals)) = rival {
            self.store.put(key, &rivals, ttl, Precondition::None).await?;
        }
        self.store.put(key, entry, ttl, precondition).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.store.remove(key, precondition).await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

/// The one entry that a sign-in adds for the refresh token.
async fn refresh_token_entry(world: &World) -> (String, Vec<u8>) {
    for key in world.store.keys() {
        let entry = world.store.get(&key).await.unwrap().unwrap();
        if String::from_utf8_lossy(entry.bytes()).contains("issued_at") {
            return (key, entry.bytes().to_vec());
        }
    }
    panic!("there is a refresh token");
}

#[tokio::test]
async fn a_racing_write_loses_no_newer_refresh_token() {
    for there_is_one_before in [false, true] {
        for (rival_is_later, expected) in [(true, "rival"), (false, "ours")] {
            assert_eq!(after_a_race(there_is_one_before, rival_is_later).await, [expected]);
        }
    }
}

/// Which refresh token is used after two processes got one each, of which the rival's is written
/// between the other one's read and its write.
async fn after_a_race(there_is_one_before: bool, rival_is_later: bool) -> Vec<String> {
    let world = World::new();
    let began = world.clock.now();
    let seconds = Duration::from_secs;
    let sign_in_with = async |refresh_token: &str| {
        sign_in(&world.process(&ScriptedTransport::new([granted_with_refresh_token("a", refresh_token)])))
            .await
    };
    // The rival's refresh token, as the rival would write it.
    world.hands.set(began + seconds(if rival_is_later { 3 } else { 1 }));
    sign_in_with("rival").await;
    let (key, entry) = refresh_token_entry(&world).await;
    world.store.remove(&key, Precondition::None).await.unwrap();
    if there_is_one_before {
        world.hands.set(began);
        sign_in_with("first").await;
    }

    world.hands.set(began + seconds(2));
    let raced = Raced { store: world.store.clone(), rival: Arc::new(Mutex::new(Some((key, entry)))) };
    let cache = TokenCache::new(100, world.clock.clone(), Jitter::fixed(0.0)).with_store(raced.clone());
    let transport = ScriptedTransport::new([granted_with_refresh_token("b", "ours")]);
    let account = sign_in(&world.process_with(&transport, cache)).await;
    assert!(raced.rival.lock().unwrap().is_none(), "the rival came in between");

    world.hands.set(began + seconds(4));
    let transport = ScriptedTransport::new([granted("c")]);
    world.process(&transport).token_for_account(&account, "other").await.unwrap();
    sent_refresh_tokens(&transport)
}

fn invalid_grant() -> Result<Response, TransportError> {
    Ok(Response::new(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant","error_codes":[50173]}"#))
}

#[tokio::test]
async fn a_refused_refresh_token_is_forgotten_in_the_store() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted_with_refresh_token("one", "rt"), invalid_grant()]);
    let process = world.process(&transport);
    let account = sign_in(&process).await;
    let error = process.token_for_account(&account, "b").await.unwrap_err();
    assert_eq!(error.code(), "invalid_grant");
    let error =
        world.process(&ScriptedTransport::new([])).token_for_account(&account, "b").await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test]
async fn a_refresh_token_that_came_while_the_one_before_was_refused_stays() {
    let world = World::new();
    let account =
        sign_in(&world.process(&ScriptedTransport::new([granted_with_refresh_token("a", "old")]))).await;
    world.hands.advance(Duration::from_secs(1));
    let elsewhere = world.process(&ScriptedTransport::new([granted_with_refresh_token("b", "new")]));
    let refuses = transport_fn(move |_| {
        let elsewhere = elsewhere.clone();
        async move {
            sign_in(&elsewhere).await;
            invalid_grant()
        }
    });
    let process = world.process_over(refuses, world.cache());
    assert_eq!(process.token_for_account(&account, "b").await.unwrap_err().code(), "invalid_grant");
    let transport = ScriptedTransport::new([granted("c")]);
    world.process(&transport).token_for_account(&account, "b").await.unwrap();
    assert_eq!(sent_refresh_tokens(&transport), ["new"]);
}

#[tokio::test]
async fn a_session_that_ends_at_one_process_ends_for_all() {
    let world = World::new();
    let transport = ScriptedTransport::new([granted_with_refresh_token("one", "rt")]);
    world.process(&transport).start_session("s", &Secret::new("assertion"), "a").await.unwrap();
    let other = world.process(&ScriptedTransport::new([]));
    assert!(other.end_session("s").await.unwrap(), "although this process never saw it");
    assert!(!other.end_session("s").await.unwrap());
    let error = other.session_token("s", "b").await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}

async fn obtained(cache: &TokenCache, partition: &Partition, secret: &'static str) -> Token {
    let fetched = Fetched::bearer(Secret::new(secret), Expiry::after(HOUR), CorrelationId::random());
    let key = CacheKey::bearer(partition, "a");
    cache.obtain(&key, || async { Ok(fetched) }).await.unwrap()
}

#[tokio::test]
async fn a_managed_identitys_token_stays_on_its_machine() {
    let partition = Partition::machine_bound("mi\0system");
    let mut world = World::new();
    obtained(&world.cache(), &partition, "mine").await;
    assert_eq!(shown(&obtained(&world.cache(), &partition, "x").await), ("mine", TokenSource::Cache));
    // Of the same name, but not of this machine.
    assert_eq!(obtained(&world.cache(), &Partition::new("mi\0system"), "y").await.secret().expose(), "y");

    world.store = MemoryStore::new(world.clock.clone()).as_if_shared();
    obtained(&world.cache(), &partition, "mine").await;
    assert!(world.store.is_empty());
    // Nor is one read that somebody put there.
    let local = World::new();
    obtained(&local.cache(), &partition, "planted").await;
    let key = local.store.keys().remove(0);
    let entry = local.store.get(&key).await.unwrap().unwrap();
    world.store.put(&key, entry.bytes(), HOUR, Precondition::None).await.unwrap();
    assert_eq!(shown(&obtained(&world.cache(), &partition, "own").await), ("own", TokenSource::Network));
}

fn identity() -> ClientIdentity {
    let issued = rcgen::generate_simple_self_signed(["client.example".to_owned()]).unwrap();
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&issued.signing_key);
    let key = SharedSigningKey::new(PublicHalf::new(public_key));
    ClientIdentity::new(vec![issued.cert.der().clone()], key).unwrap()
}

/// One application with one of its certificates.
#[derive(Debug)]
struct Bound(ClientIdentity);

impl CredentialSource for Bound {
    fn resolve<'a>(&'a self, _: &'a CredentialRequest<'a>) -> Resolution<'a> {
        let endpoint = TokenEndpoint::parse("https://login.example/token");
        Resolution::ready(endpoint.map(|endpoint| {
            ClientAuth::new("client", endpoint, Partition::new("the same application"))
                .with_proof_of_possession(self.0.clone())
        }))
    }

    async fn refused(&self, _: &ClientAuth, _: &Refusal) -> bool {
        false
    }
}

fn bound(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"mtls_pop","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

#[tokio::test]
async fn a_bound_token_is_stored_on_its_machine_only_and_comes_back_with_its_certificate_only() {
    let (first, second) = (identity(), identity());
    for is_local in [true, false] {
        let mut world = World::new();
        if !is_local {
            world.store = world.store.as_if_shared();
        }
        let ask = async |identity: &ClientIdentity, answers: &[&str]| {
            let transport = ScriptedTransport::new(answers.iter().map(|token| bound(token)));
            let client = TokenClient::builder(Bound(identity.clone()), transport)
                .clock(world.clock.clone())
                .cache(world.cache())
                .build();
            client.token("a").proof_of_possession().await.unwrap()
        };
        assert_eq!(shown(&ask(&first, &["of the first"]).await), ("of the first", TokenSource::Network));
        assert_eq!(shown(&ask(&second, &["of the second"]).await), ("of the second", TokenSource::Network));
        assert_eq!(world.store.len(), if is_local { 2 } else { 0 });
        let again = ask(&first, if is_local { &[] } else { &["anew"] }).await;
        let expected =
            if is_local { ("of the first", TokenSource::Cache) } else { ("anew", TokenSource::Network) };
        assert_eq!(shown(&again), expected);
        assert_eq!(again.bound_to(), Some(&first));
        assert_eq!(again.token_type(), "mtls_pop");
    }
}
