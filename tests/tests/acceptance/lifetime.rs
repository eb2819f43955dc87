//! LIFE: certificates and clocks.

use std::time::Duration;

use symbolon::{ClientIdentity, Thumbprint, Token, TokenSource};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::{Counts, RESOURCE, World};

const HOUR: Duration = Duration::from_secs(3600);

/// A world in which a certificate lives for ten hours and a token for one.
async fn ten_hours() -> World {
    World::with(|emulator| {
        emulator.certificate_lifetime(10 * HOUR).token_not_after(None).token_lifetime(HOUR)
    })
    .await
}

fn bound_to(token: &Token) -> Thumbprint {
    token.bound_to().map(ClientIdentity::thumbprint).unwrap()
}

#[tokio::test]
async fn life_04_a_binding_rotates_at_half_life_while_the_old_one_serves() {
    let world = ten_hours().await;
    let identity = world.identity();
    let mut watch = identity.watch_binding();
    let old = bound_to(&world.bound(&identity).await);
    world.hands.advance(6 * HOUR);
    // The token has ended, and is asked for with the certificate that is at hand.
    assert_eq!(bound_to(&world.bound(&identity).await), old);
    world.settle(|| world.emulator.issued().len() == 2).await;
    watch.changed().await;
    world.settle(|| watch.current().is_some_and(|binding| binding.identity().thumbprint() != old)).await;
    let new = world.last_certificate();
    world.hands.advance(2 * HOUR);
    let renewed = world.bound(&identity).await;
    assert_eq!((bound_to(&renewed), identity.binding().unwrap().identity().thumbprint()), (new, new));
    assert_eq!(world.call(&identity, &renewed).await.status(), 200);
    assert_eq!(world.counts().issuances, 2);
}

#[tokio::test]
async fn life_04_without_a_metadata_service_the_old_binding_serves_to_its_hard_end() {
    let world = ten_hours().await;
    let identity = world.identity();
    let old = bound_to(&world.bound(&identity).await);
    let end = identity.binding().unwrap().identity().usable_until();
    world.emulator.inject(Fault::status(Step::PlatformMetadata, 403).always());
    let left = || end.duration_since(world.clock().now()).unwrap();
    while left() > HOUR {
        world.hands.advance(HOUR);
        let token = world.bound(&identity).await;
        assert_eq!(bound_to(&token), old);
        assert_eq!(world.call(&identity, &token).await.status(), 200);
    }
    world.hands.advance(left());
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    world.emulator.clear_faults();
    assert_ne!(bound_to(&world.bound(&identity).await), old);
}

#[cfg(unix)]
#[tokio::test]
async fn life_05_two_processes_that_persist_their_bindings_mint_once() {
    let world = World::in_real_time(|emulator| emulator).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    // Nothing is shared but the folder: each has a transport, a cache and a minter of its own.
    let process = || {
        let keys = symbolon::PersistedKeys::p256(&folder);
        world.builder().persist_bindings(&folder).key_provider(keys).build().unwrap()
    };
    let (one, other) = (process(), process());
    let (first, second) = tokio::join!(world.bound(&one), world.bound(&other));
    assert_eq!(bound_to(&first), bound_to(&second));
    assert_eq!(world.counts(), Counts::of(2, 1, 2));
    let later = process();
    let token = world.bound(&later).await;
    assert_eq!((bound_to(&token), world.counts().issuances), (bound_to(&first), 1));
    assert_eq!(world.call(&later, &token).await.status(), 200);
    // One is refused; the certificate is replaced for all.
    world.emulator.inject(Fault::oauth_error("invalid_client", &[]));
    let replaced = identity_token(&world, &later, "https://other.example").await;
    assert_ne!(bound_to(&replaced), bound_to(&first));
    assert_eq!(bound_to(&world.bound(&process()).await), bound_to(&replaced));
    assert_eq!(world.counts().issuances, 2);
}

#[cfg(unix)]
async fn identity_token(world: &World, identity: &symbolon::ManagedIdentity, resource: &str) -> Token {
    world.keep(identity.token(resource).proof_of_possession().await.unwrap())
}

#[tokio::test]
async fn life_06_a_clock_that_jumps_an_hour_costs_no_error_and_no_endless_refresh() {
    for back in [false, true] {
        let world = World::with(|emulator| emulator.token_lifetime(24 * HOUR)).await;
        let identity = world.identity();
        let first = world.bound(&identity).await;
        let now = world.clock().now();
        world.hands.set(if back { now - HOUR } else { now + HOUR });
        for _ in 0..50 {
            let token = world.bound(&identity).await;
            assert_eq!((token.source(), bound_to(&token)), (TokenSource::Cache, bound_to(&first)));
            world.call(&identity, &token).await;
            tokio::task::yield_now().await;
        }
        world.hands.set(now);
        world.bound(&identity).await;
        assert_eq!(world.counts(), Counts::of(1, 1, 1), "{back}");
    }
}
