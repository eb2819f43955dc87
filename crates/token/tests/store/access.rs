//! Access tokens in a store.

use std::time::Duration;

use futures_util::FutureExt;
use symbolon_token::{CacheStore as _, Precondition, TokenCache, TokenSource};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::{Context, Jitter};

use crate::world::{HOUR, SCOPE, World, granted, shown};

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
    let early = TokenCache::new(
        100,
        &Context::default().with_clock(world.clock.clone()).with_jitter(Jitter::fixed(1.0)),
    )
    .with_store(world.store.clone());
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
