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
    assert_eq!(test_env.counts(), Counts::of(2, 1, 1), "of two processes, one requests the token");
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

/// The files of a folder whose names begin with a prefix.
#[cfg(unix)]
fn files(folder: &std::path::Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn life_11_processes_share_bound_tokens() {
    use std::os::unix::fs::PermissionsExt;

    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let process = || {
        let keys = symbolon::PersistedKeys::p256(&folder);
        test_env.builder().persist_bindings(&folder).key_provider(keys).build().unwrap()
    };
    let cold: Vec<_> = (0..8).map(|_| process()).collect();
    let requests = cold.iter().map(|process| test_env.bound_token(process));
    let tokens = futures_util::future::join_all(requests).await;
    assert_eq!(test_env.counts(), Counts::of(8, 1, 1));
    assert!(tokens.iter().all(|token| token.secret().expose() == tokens[0].secret().expose()));
    // A new process starts warm, and the token works.
    let warm = process();
    let token = test_env.bound_token(&warm).await;
    assert_eq!((token.origin(), test_env.counts().tokens), (TokenOrigin::Cache, 1));
    assert_eq!((token.client_id(), token.tenant_id()), (tokens[0].client_id(), tokens[0].tenant_id()));
    let [one, other] = [&token, &tokens[0]].map(|token| token.expires_on() + Duration::from_secs(1));
    assert!(one > tokens[0].expires_on() && other > token.expires_on(), "less than a second apart");
    assert_eq!(test_env.call(&warm, &token).await.status(), 200);
    // The file is private and sealed.
    let [file] = &files(&folder, "token-")[..] else { panic!("one token is stored") };
    for path in [file, &folder.join("tokens.key")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    let content = std::fs::read(file).unwrap();
    for hidden in [token.secret().expose(), RESOURCE, token.client_id().unwrap()] {
        let is_in = content.windows(hidden.len()).any(|window| window == hidden.as_bytes());
        assert!(!is_in, "{hidden} is in plain text");
    }
    // A bearer token is not stored, also not one over mTLS.
    test_env.keep(warm.token(RESOURCE).await.unwrap());
    assert_eq!(files(&folder, "token-").len(), 1);
    // A new token replaces the stored one, for all.
    let forced = warm.token(RESOURCE).proof_of_possession().force_refresh().await.unwrap();
    assert_eq!((test_env.keep(forced.clone()).origin(), test_env.counts().tokens), (TokenOrigin::Network, 2));
    let next = test_env.bound_token(&process()).await;
    assert_eq!(next.secret().expose(), forced.secret().expose());
    let claims = r#"{"access_token":{"x":{"essential":true}}}"#;
    let challenged = process().token(RESOURCE).proof_of_possession().claims(claims).await.unwrap();
    assert_eq!(test_env.keep(challenged).origin(), TokenOrigin::Network);
    // Another resource, and a damaged file, are misses.
    identity_token(&test_env, &process(), "https://other.example").await;
    assert_eq!(test_env.counts().tokens, 4);
    let both = files(&folder, "token-");
    std::fs::copy(&both[0], &both[1]).unwrap();
    for resource in [RESOURCE, "https://other.example"] {
        identity_token(&test_env, &process(), resource).await;
    }
    assert_eq!(test_env.counts().tokens, 5, "the copied one was not accepted");
    std::fs::write(folder.join("tokens.key"), [7; 32]).unwrap();
    test_env.bound_token(&process()).await;
    assert_eq!(test_env.counts().tokens, 6, "another key opens nothing");
}

#[cfg(unix)]
#[tokio::test]
async fn life_11_stored_tokens_end_with_their_certificate() {
    let test_env = TestEnv::with(|emulator| emulator.token_lifetime(HOUR)).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let process = || {
        let keys = symbolon::PersistedKeys::p256(&folder);
        test_env.builder().persist_bindings(&folder).key_provider(keys).build().unwrap()
    };
    let first = process();
    let token = test_env.bound_token(&first).await;
    // The token expires.
    test_env.manual_clock.advance(HOUR);
    assert_ne!(test_env.bound_token(&process()).await.secret().expose(), token.secret().expose());
    assert_eq!((test_env.counts().tokens, files(&folder, "token-").len()), (2, 1));
    // Its certificate is refused: the tokens of it leave the folder.
    let held = test_env.bound_token(&first).await;
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[]));
    identity_token(&test_env, &first, "https://other.example").await;
    for _ in 0..500 {
        if files(&folder, "token-").len() == 1 {
            break;
        }
        symbolon::SharedClock::system().sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(files(&folder, "token-").len(), 1, "that of the new certificate");
    let next = test_env.bound_token(&process()).await;
    assert_ne!(bound_to(&next), bound_to(&held));
    // A folder that cannot keep tokens costs nothing but an exchange.
    for file in files(&folder, "token-") {
        std::fs::remove_file(file).unwrap();
    }
    std::fs::remove_file(folder.join("tokens.key")).unwrap();
    std::fs::create_dir(folder.join("tokens.key.new")).unwrap();
    for number in 1..=9 {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        std::fs::create_dir_all(folder.join(format!("tokens.key.new.set-aside{number}/content"))).unwrap();
    }
    let tokens = test_env.counts().tokens;
    test_env.bound_token(&process()).await;
    test_env.bound_token(&process()).await;
    assert_eq!(test_env.counts().tokens, tokens + 2);
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
