//! Refresh tokens and sessions in a store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use symbolon_token::{
    Account, AuthorizationCode, CacheStore, Error, MemoryStore, Precondition, PutOutcome, StoredEntry,
    TokenCache, TokenClient, TokenSource,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, TransportError, transport_fn};
use symbolon_types::{Context, Jitter, Secret};

use crate::world::{World, granted, granted_with_refresh_token, shown};

fn sent_refresh_tokens(transport: &ScriptedTransport) -> Vec<String> {
    let value = |body: &Bytes| {
        let mut form = url::form_urlencoded::parse(body).into_owned();
        form.find(|(name, _)| name == "refresh_token").map(|(_, value)| value)
    };
    transport.requests().iter().filter_map(|request| value(request.body())).collect()
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
    let cache = TokenCache::new(
        100,
        &Context::default().with_clock(world.clock.clone()).with_jitter(Jitter::fixed(0.0)),
    )
    .with_store(raced.clone());
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
