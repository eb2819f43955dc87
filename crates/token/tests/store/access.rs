//! Access tokens in a store.

use std::time::Duration;

use futures_util::FutureExt;
use symbolon_token::{CacheStore as _, Precondition, TokenCache, TokenOrigin};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::{Context, Jitter};

use crate::env::{HOUR, SCOPE, TestEnv, issued, shown};

#[tokio::test]
async fn token_of_another_process_is_served() {
    let env = TestEnv::new();
    let first = env.process(&ScriptedTransport::new([issued("one")]));
    let second = env.process(&ScriptedTransport::new([]));
    let issued = first.token(SCOPE).await.unwrap();
    let stored = second.token(SCOPE).await.unwrap();
    assert_eq!(shown(&stored), ("one", TokenOrigin::Cache));
    assert_eq!(stored.correlation_id(), issued.correlation_id());
    assert_eq!((stored.audience(), stored.client_id()), (SCOPE, Some("client")));
    assert_eq!(stored.tenant_id(), Some("contoso.example"));
    // Afterwards it is served from memory.
    env.store.remove(&env.store.keys()[0], Precondition::None).now_or_never().unwrap().unwrap();
    assert_eq!(shown(&second.token(SCOPE).await.unwrap()), ("one", TokenOrigin::Cache));
}

#[tokio::test]
async fn entry_expires_with_its_token() {
    let env = TestEnv::new();
    env.process(&ScriptedTransport::new([issued("one")])).token(SCOPE).await.unwrap();
    env.manual_clock.advance(HOUR - Duration::from_secs(1));
    let key = env.store.keys().remove(0);
    assert!(env.store.get(&key).await.unwrap().is_some());
    env.manual_clock.advance(Duration::from_secs(1));
    assert!(env.store.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn forced_refresh_writes_without_reading() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued("one"), issued("forced"), issued("claimed")]);
    env.process(&transport).token(SCOPE).await.unwrap();
    let forced = env.process(&transport).token(SCOPE).force_refresh().await.unwrap();
    assert_eq!(shown(&forced), ("forced", TokenOrigin::Network));
    assert_eq!(shown(&env.process(&transport).token(SCOPE).await.unwrap()), ("forced", TokenOrigin::Cache));
    let claims = r#"{"access_token":{"acrs":{"value":"c1"}}}"#;
    let claimed = env.process(&transport).token(SCOPE).claims(claims).await.unwrap();
    assert_eq!(shown(&claimed), ("claimed", TokenOrigin::Network));
    assert_eq!(shown(&env.process(&transport).token(SCOPE).await.unwrap()), ("claimed", TokenOrigin::Cache));
}

#[tokio::test]
async fn each_cache_key_has_an_entry() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new(["a", "b", "c", "d"].map(issued));
    let process = env.process(&transport);
    process.token(SCOPE).await.unwrap();
    process.token("other").await.unwrap();
    process.token(SCOPE).tenant("fabrikam.example").await.unwrap();
    process.token(SCOPE).claims_from_client(r#"{"access_token":{}}"#).await.unwrap();
    assert_eq!(env.store.len(), 4);
    let other = env.process(&ScriptedTransport::new([]));
    let token = other.token(SCOPE).tenant("fabrikam.example").await.unwrap();
    assert_eq!(shown(&token), ("c", TokenOrigin::Cache));
}

#[tokio::test]
async fn refresh_uses_token_refreshed_elsewhere() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued("old"), issued("new")]);
    let (first, second) = (env.process(&transport), env.process(&transport));
    assert_eq!(shown(&first.token(SCOPE).await.unwrap()), ("old", TokenOrigin::Network));
    assert_eq!(shown(&second.token(SCOPE).await.unwrap()), ("old", TokenOrigin::Cache));
    // Due in both processes and in the store, so that the first process fetches a token.
    env.manual_clock.advance(HOUR - Duration::from_secs(4 * 60));
    for process in [&first, &second] {
        assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "old", "renewed in the background");
        run_background_tasks().await;
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("new", TokenOrigin::Cache));
    }
    assert_eq!(transport.requests().len(), 2, "the second process read it from the store");
}

#[tokio::test]
async fn refresh_ignores_stored_token_that_is_due() {
    let env = TestEnv::new();
    let process = env.process(&ScriptedTransport::new([issued("one"), issued("three")]));
    process.token(SCOPE).await.unwrap();
    let other = env.process(&ScriptedTransport::new([issued("two")]));
    other.token(SCOPE).force_refresh().await.unwrap();
    env.manual_clock.advance(HOUR - Duration::from_secs(4 * 60));
    assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "one");
    run_background_tasks().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("three", TokenOrigin::Cache));
}

#[tokio::test]
async fn processes_refresh_at_their_own_times() {
    let env = TestEnv::new();
    env.process(&ScriptedTransport::new([issued("one")])).token(SCOPE).await.unwrap();
    let early = TokenCache::new(
        100,
        &Context::default().with_clock(env.clock.clone()).with_jitter(Jitter::fixed(1.0)),
    )
    .with_store(env.store.clone());
    let process = env.process_with(&ScriptedTransport::new([issued("two")]), early);
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("one", TokenOrigin::Cache));
    // Due for this process, but not for the entry, which has the same token.
    env.manual_clock.advance(Duration::from_secs(53 * 60));
    assert_eq!(process.token(SCOPE).await.unwrap().secret().expose(), "one");
    run_background_tasks().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenOrigin::Cache));
}

#[tokio::test]
async fn due_token_is_served_and_refreshed() {
    let env = TestEnv::new();
    env.process(&ScriptedTransport::new([issued("old")])).token(SCOPE).await.unwrap();
    env.manual_clock.advance(HOUR - Duration::from_secs(4 * 60));
    let process = env.process(&ScriptedTransport::new([issued("new")]));
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("old", TokenOrigin::Cache));
    env.manual_clock.advance(Duration::from_secs(1));
    process.token(SCOPE).await.unwrap();
    run_background_tasks().await;
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("new", TokenOrigin::Cache));
}

/// Yields to background tasks, which run on the same thread.
async fn run_background_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition is never true");
}

#[tokio::test]
async fn refused_token_is_not_read_again() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued("revoked"), issued("good")]);
    let process = env.process(&transport);
    let revoked = process.token(SCOPE).await.unwrap();
    assert!(process.invalidate(&revoked));
    // Not even before the entry is removed.
    assert_eq!(env.store.len(), 1);
    assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("good", TokenOrigin::Network));
    let other = env.process(&ScriptedTransport::new([]));
    assert_eq!(shown(&other.token(SCOPE).await.unwrap()), ("good", TokenOrigin::Cache));
    // The removal of the old token keeps the new one.
    run_background_tasks().await;
    assert_eq!(env.store.len(), 1);
}

#[tokio::test]
async fn invalidated_token_is_removed() {
    let env = TestEnv::new();
    let process = env.process(&ScriptedTransport::new([issued("revoked")]));
    let revoked = process.token(SCOPE).await.unwrap();
    process.invalidate(&revoked);
    wait_until(|| env.store.is_empty()).await;
}

#[tokio::test]
async fn unreadable_entry_is_replaced() {
    for entry in [&b""[..], b"\x01", b"\x02{}", b"not ours", b"\x01{\"secret\":7}", &[0xff; 4096]] {
        let env = TestEnv::new();
        env.process(&ScriptedTransport::new([issued("one")])).token(SCOPE).await.unwrap();
        let key = env.store.keys().remove(0);
        env.store.put(&key, entry, HOUR, Precondition::None).await.unwrap();
        let process = env.process(&ScriptedTransport::new([issued("two")]));
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenOrigin::Network), "{entry:?}");
        let process = env.process(&ScriptedTransport::new([]));
        assert_eq!(shown(&process.token(SCOPE).await.unwrap()), ("two", TokenOrigin::Cache), "{entry:?}");
    }
}

#[tokio::test]
async fn copied_entry_is_not_read() {
    let env = TestEnv::new();
    let transport = ScriptedTransport::new([issued("for-graph"), issued("for-vault"), issued("again")]);
    let process = env.process(&transport);
    process.token("graph").await.unwrap();
    let graph = env.store.keys().remove(0);
    process.token("vault").await.unwrap();
    let vault = env.store.keys().into_iter().find(|key| *key != graph).unwrap();
    let entry = env.store.get(&graph).await.unwrap().unwrap();
    env.store.put(&vault, entry.bytes(), HOUR, Precondition::None).await.unwrap();
    let token = env.process(&transport).token("vault").await.unwrap();
    assert_eq!(shown(&token), ("again", TokenOrigin::Network));
}
