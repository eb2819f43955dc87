//! LIFE: certificates and clocks.

use std::time::Duration;

use crate::test_env::{Counts, TestEnv};
use symbolon::{ClientIdentity, Thumbprint, Token, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Certificates are valid for ten hours and tokens for one.
async fn ten_hours() -> TestEnv {
    TestEnv::with(|emulator| {
        emulator.certificate_lifetime(10 * HOUR).token_not_after(None).token_lifetime(HOUR)
    })
    .await
}

fn bound_to(token: &Token) -> Thumbprint {
    token.bound_to().map(ClientIdentity::thumbprint).unwrap()
}

#[tokio::test]
async fn life_04_binding_rotates_at_half_life() {
    let test_env = ten_hours().await;
    let identity = test_env.identity();
    let mut watch = identity.watch_binding();
    let old = bound_to(&test_env.bound_token(&identity).await);
    test_env.manual_clock.advance(6 * HOUR);
    // The token has expired; the next one is requested with the current certificate.
    assert_eq!(bound_to(&test_env.bound_token(&identity).await), old);
    test_env.wait_until(|| test_env.emulator.issued().len() == 2).await;
    watch.changed().await;
    test_env
        .wait_until(|| watch.current().is_some_and(|binding| binding.identity().thumbprint() != old))
        .await;
    let new = test_env.last_certificate();
    test_env.manual_clock.advance(2 * HOUR);
    let renewed = test_env.bound_token(&identity).await;
    assert_eq!((bound_to(&renewed), identity.binding().unwrap().identity().thumbprint()), (new, new));
    assert_eq!(test_env.call(&identity, &renewed).await.status(), 200);
    assert_eq!(test_env.counts().issuances, 2);
}

#[tokio::test]
async fn life_04_old_binding_is_used_until_it_expires() {
    let test_env = ten_hours().await;
    let identity = test_env.identity();
    let old = bound_to(&test_env.bound_token(&identity).await);
    let end = identity.binding().unwrap().identity().usable_until();
    test_env.emulator.inject(Fault::status(Step::PlatformMetadata, 403).always());
    let left = || end.duration_since(test_env.clock().now()).unwrap();
    while left() > HOUR {
        test_env.manual_clock.advance(HOUR);
        let token = test_env.bound_token(&identity).await;
        assert_eq!(bound_to(&token), old);
        assert_eq!(test_env.call(&identity, &token).await.status(), 200);
    }
    test_env.manual_clock.advance(left());
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    test_env.emulator.clear_faults();
    assert_ne!(bound_to(&test_env.bound_token(&identity).await), old);
}

#[cfg(unix)]
#[tokio::test]
async fn life_05_two_processes_mint_once() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    // Only the folder is shared: each has its own transport, cache and minter.
    let process = || {
        let keys = symbolon::PersistedKeys::p256(&folder);
        test_env.builder().persist_bindings(&folder).key_provider(keys).build().unwrap()
    };
    let (one, other) = (process(), process());
    let (first, second) = tokio::join!(test_env.bound_token(&one), test_env.bound_token(&other));
    assert_eq!(bound_to(&first), bound_to(&second));
    assert_eq!(test_env.counts(), Counts::of(2, 1, 2));
    let later = process();
    let token = test_env.bound_token(&later).await;
    assert_eq!((bound_to(&token), test_env.counts().issuances), (bound_to(&first), 1));
    assert_eq!(test_env.call(&later, &token).await.status(), 200);
    // One is refused; the certificate is replaced for all.
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[]));
    let replaced = identity_token(&test_env, &later, "https://other.example").await;
    assert_ne!(bound_to(&replaced), bound_to(&first));
    assert_eq!(bound_to(&test_env.bound_token(&process()).await), bound_to(&replaced));
    assert_eq!(test_env.counts().issuances, 2);
}

#[cfg(unix)]
async fn identity_token(test_env: &TestEnv, identity: &symbolon::ManagedIdentity, resource: &str) -> Token {
    test_env.keep(identity.token(resource).proof_of_possession().await.unwrap())
}

#[tokio::test]
async fn life_10_lifetime_is_relative_to_the_source() {
    // The clock of the source is two hours ahead of that of the machine, or behind it.
    for skew in [7200, -7200] {
        let test_env = TestEnv::with(|emulator| emulator.clock_skew(skew).token_lifetime(HOUR)).await;
        let identity = test_env.identity();
        let first = test_env.keep(identity.token(RESOURCE).await.unwrap());
        test_env.manual_clock.advance(50 * MINUTE);
        let served = identity.token(RESOURCE).await.unwrap();
        assert_eq!(served.origin(), TokenOrigin::Cache, "{skew}");
        test_env.manual_clock.advance(10 * MINUTE);
        let second = test_env.keep(identity.token(RESOURCE).await.unwrap());
        assert_eq!(second.origin(), TokenOrigin::Network, "{skew}");
        assert_ne!(second.secret().expose(), first.secret().expose(), "{skew}");
    }
}

#[tokio::test]
async fn life_10_clock_set_back_keeps_no_dead_token() {
    let test_env = TestEnv::with(|emulator| emulator.token_lifetime(HOUR)).await;
    let identity = test_env.identity();
    for is_bound in [false, true] {
        let request = || {
            let request = identity.token(RESOURCE);
            if is_bound { request.proof_of_possession() } else { request }
        };
        let first = test_env.keep(request().await.unwrap());
        test_env.manual_clock.set(test_env.clock().now() - 24 * HOUR);
        test_env.manual_clock.advance(HOUR);
        let second = test_env.keep(request().await.unwrap());
        assert_ne!(second.secret().expose(), first.secret().expose(), "{is_bound}");
        test_env.manual_clock.set(test_env.clock().now() + 24 * HOUR);
    }
}

#[tokio::test]
async fn life_06_clock_jump_is_harmless() {
    for back in [false, true] {
        let test_env = TestEnv::with(|emulator| emulator.token_lifetime(24 * HOUR)).await;
        let identity = test_env.identity();
        let first = test_env.bound_token(&identity).await;
        let now = test_env.clock().now();
        test_env.manual_clock.set(if back { now - HOUR } else { now + HOUR });
        for _ in 0..50 {
            let token = test_env.bound_token(&identity).await;
            assert_eq!((token.origin(), bound_to(&token)), (TokenOrigin::Cache, bound_to(&first)));
            test_env.call(&identity, &token).await;
            tokio::task::yield_now().await;
        }
        test_env.manual_clock.set(now);
        test_env.bound_token(&identity).await;
        assert_eq!(test_env.counts(), Counts::of(1, 1, 1), "{back}");
    }
}
