//! Refresh tokens and sessions in a store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use symbolon_token::{
    Account, AuthorizationCode, CacheStore, Error, MemoryStore, Precondition, PutOutcome, StoredEntry,
    TokenCache, TokenClient, TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, TransportError, transport_fn};
use symbolon_types::{Context, Jitter, Secret};

use crate::env::{HOUR, TestEnv, issued, issued_with_refresh_token, shown};

fn sent_refresh_tokens(transport: &ScriptedTransport) -> Vec<String> {
    let value = |body: &Bytes| {
        let mut form = url::form_urlencoded::parse(body).into_owned();
        form.find(|(name, _)| name == "refresh_token").map(|(_, value)| value)
    };
    transport.requests().iter().filter_map(|request| value(request.body())).collect()
}

/// Signs a user in.
async fn sign_in(process: &TokenClient) -> Account {
    let token = process
        .redeem_code(&AuthorizationCode::new(Secret::new("code"), "https://app.example"), "a")
        .await
        .unwrap();
    token.account().unwrap().clone()
}

#[tokio::test]
async fn sign_in_is_shared_between_processes() {
    let env = TestEnv::new();
    let first = env.process(&ScriptedTransport::new([issued_with_refresh_token("one", "rt1")]));
    let account = sign_in(&first).await;
    let transport = ScriptedTransport::new([issued("two")]);
    let second = env.process(&transport);
    assert_eq!(shown(&second.token_for_account(&account, "a").await.unwrap()), ("one", TokenOrigin::Cache));
    let token = second.token_for_account(&account, "b").await.unwrap();
    assert_eq!(shown(&token), ("two", TokenOrigin::Network));
    assert_eq!(token.account().map(Account::id), Some("u.t"));
    assert_eq!(sent_refresh_tokens(&transport), ["rt1"]);
}

#[tokio::test]
async fn latest_refresh_token_is_used() {
    let env = TestEnv::new();
    let first_transport = ScriptedTransport::new([issued_with_refresh_token("one", "rt1"), issued("three")]);
    let first = env.process(&first_transport);
    let account = sign_in(&first).await;
    env.manual_clock.advance(Duration::from_secs(1));
    let second = env.process(&ScriptedTransport::new([issued_with_refresh_token("two", "rt2")]));
    second.token_for_account(&account, "b").await.unwrap();
    // The first process holds the old one in memory.
    first.token_for_account(&account, "c").await.unwrap();
    assert_eq!(sent_refresh_tokens(&first_transport), ["rt2"]);
}

/// The clock of the process that signed the user in is an hour ahead.
#[tokio::test]
async fn clock_ahead_keeps_no_old_refresh_token() {
    let env = TestEnv::new();
    let began = env.clock.now();
    env.manual_clock.set(began + HOUR);
    let account =
        sign_in(&env.process(&ScriptedTransport::new([issued_with_refresh_token("a", "rt1")]))).await;
    env.manual_clock.set(began);
    let transport = ScriptedTransport::new([issued_with_refresh_token("b", "rt2"), issued("c")]);
    let second = env.process(&transport);
    second.token_for_account(&account, "b").await.unwrap();
    env.manual_clock.set(began + Duration::from_secs(1));
    second.token_for_account(&account, "c").await.unwrap();
    assert_eq!(sent_refresh_tokens(&transport), ["rt1", "rt2"]);
    // A process that has read the first one receives the later one.
    let transport = ScriptedTransport::new([issued_with_refresh_token("d", "rt3")]);
    env.process(&transport).token_for_account(&account, "d").await.unwrap();
    let transport = ScriptedTransport::new([issued("e")]);
    env.process(&transport).token_for_account(&account, "e").await.unwrap();
    assert_eq!(sent_refresh_tokens(&transport), ["rt3"]);
}

/// The key and the entry of a concurrent write.
type Rival = (String, Vec<u8>);

/// A store in which another process writes once between a read and the next write.
#[derive(Debug, Clone)]
struct RacingStore {
    store: MemoryStore,
    rival: Arc<Mutex<Option<Rival>>>,
}

impl CacheStore for RacingStore {
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

/// Returns the entry of the refresh token.
async fn refresh_token_entry(env: &TestEnv) -> (String, Vec<u8>) {
    for key in env.store.keys() {
        let entry = env.store.get(&key).await.unwrap().unwrap();
        if String::from_utf8_lossy(entry.bytes()).contains("issued_at") {
            return (key, entry.bytes().to_vec());
        }
    }
    panic!("there is a refresh token");
}

#[tokio::test]
async fn newest_refresh_token_wins_the_write() {
    for has_entry_before in [false, true] {
        for (rival_is_later, expected) in [(true, "rival"), (false, "ours")] {
            assert_eq!(token_after_race(has_entry_before, rival_is_later).await, [expected]);
        }
    }
}

/// Returns the refresh token that is used after two processes received one each, and the rival
/// wrote between the read and the write of the other process.
async fn token_after_race(has_entry_before: bool, rival_is_later: bool) -> Vec<String> {
    let env = TestEnv::new();
    let began = env.clock.now();
    let seconds = Duration::from_secs;
    let sign_in_with = async |refresh_token: &str| {
        sign_in(&env.process(&ScriptedTransport::new([issued_with_refresh_token("a", refresh_token)]))).await
    };
    // The entry that the rival writes.
    env.manual_clock.set(began + seconds(if rival_is_later { 3 } else { 1 }));
    sign_in_with("rival").await;
    let (key, entry) = refresh_token_entry(&env).await;
    env.store.remove(&key, Precondition::None).await.unwrap();
    if has_entry_before {
        env.manual_clock.set(began);
        sign_in_with("first").await;
    }

    env.manual_clock.set(began + seconds(2));
    let raced = RacingStore { store: env.store.clone(), rival: Arc::new(Mutex::new(Some((key, entry)))) };
    let cache = TokenCache::new(
        100,
        &Context::default().with_clock(env.clock.clone()).with_jitter(Jitter::fixed(0.0)),
    )
    .with_store(raced.clone());
    let transport = ScriptedTransport::new([issued_with_refresh_token("b", "ours")]);
    let account = sign_in(&env.process_with(&transport, cache)).await;
    assert!(raced.rival.lock().unwrap().is_none(), "the rival wrote in between");

    env.manual_clock.set(began + seconds(4));
    let transport = ScriptedTransport::new([issued("c")]);
    env.process(&transport).token_for_account(&account, "other").await.unwrap();
    sent_refresh_tokens(&transport)
}

fn invalid_grant() -> Result<Response, TransportError> {
    Ok(Response::new(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant","error_codes":[50173]}"#))
}

#[tokio::test]
async fn refused_refresh_token_is_removed() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued_with_refresh_token("one", "rt"), invalid_grant()]);
    let process = env.process(&transport);
    let account = sign_in(&process).await;
    let error = process.token_for_account(&account, "b").await.unwrap_err();
    assert_eq!(error.code(), "invalid_grant");
    let error = env.process(&ScriptedTransport::new([])).token_for_account(&account, "b").await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test]
async fn refusal_keeps_newer_refresh_token() {
    let env = TestEnv::new();
    let account =
        sign_in(&env.process(&ScriptedTransport::new([issued_with_refresh_token("a", "old")]))).await;
    env.manual_clock.advance(Duration::from_secs(1));
    let elsewhere = env.process(&ScriptedTransport::new([issued_with_refresh_token("b", "new")]));
    let refuses = transport_fn(move |_| {
        let elsewhere = elsewhere.clone();
        async move {
            sign_in(&elsewhere).await;
            invalid_grant()
        }
    });
    let process = env.process_over(refuses, env.cache());
    assert_eq!(process.token_for_account(&account, "b").await.unwrap_err().code(), "invalid_grant");
    let transport = ScriptedTransport::new([issued("c")]);
    env.process(&transport).token_for_account(&account, "b").await.unwrap();
    assert_eq!(sent_refresh_tokens(&transport), ["new"]);
}

#[tokio::test]
async fn ended_session_ends_everywhere() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued_with_refresh_token("one", "rt")]);
    env.process(&transport).start_session("s", &Secret::new("assertion"), "a").await.unwrap();
    let other = env.process(&ScriptedTransport::new([]));
    assert!(other.end_session("s").await.unwrap(), "although this process did not start it");
    assert!(!other.end_session("s").await.unwrap());
    let error = other.session_token("s", "b").await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}
