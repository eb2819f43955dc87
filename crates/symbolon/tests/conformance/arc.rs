//! Azure Arc: the challenge, and identities that the agent must confirm.

use symbolon::{Context, ErrorKind, ManagedIdentityId, TokenOrigin};
use symbolon_emulator::{Fault, Source, Step};

use crate::test_env::{RESOURCE, ScriptedRun, SourceTestEnv, VAULT, token};

#[tokio::test]
async fn challenge_is_answered_from_the_file() {
    let test_env = SourceTestEnv::new().await;
    let identity = test_env.on(Source::AzureArc);
    assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Network);
    let journal = test_env.emulator.journal();
    let requests: Vec<_> = journal
        .of(Step::AzureArc)
        .map(|entry| (entry.status(), entry.authorization.map(str::to_owned), entry.header("metadata")))
        .collect();
    let basic = Some("Basic".to_owned());
    assert_eq!(requests, [(Some(401), None, Some("true")), (Some(200), basic, Some("true"))]);
    for entry in journal.of(Step::AzureArc) {
        assert_eq!(
            (entry.query("api-version"), entry.query("resource")),
            (Some("2020-06-01"), Some(RESOURCE))
        );
    }
    assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(test_env.emulator.journal().count(Step::AzureArc), 2);
}

#[test]
fn token_without_a_challenge_is_accepted() {
    let run = ScriptedRun::new(Source::AzureArc, vec![token()]);
    assert_eq!(run.result.unwrap().secret().expose(), "t");
}

/// A server in place of the agent cannot choose the file that is read.
#[tokio::test]
async fn challenge_with_another_file_is_refused() {
    let test_env = SourceTestEnv::new().await;
    for realm in [None, Some("Basic realm=/etc/hostname"), Some("Basic realm=/etc/x.key"), Some("Bearer x")] {
        let mut fault = Fault::status(Step::AzureArc, 401);
        if let Some(realm) = realm {
            fault = fault.header("www-authenticate", realm);
        }
        test_env.emulator.inject(fault);
        let before = test_env.emulator.journal().count(Step::AzureArc);
        let error = test_env.on(Source::AzureArc).token(RESOURCE).await.unwrap_err();
        assert_eq!(error.code(), "managed_identity_request_failed", "{realm:?}");
        assert!(error.to_string().contains("Azure Arc agent") && error.correlation_id().is_some(), "{error}");
        assert_eq!(test_env.emulator.journal().count(Step::AzureArc), before + 1, "{realm:?}");
    }
}

/// An old agent ignores the id and returns the machine's own token.
#[tokio::test]
async fn unconfirmed_token_is_discarded() {
    let test_env = SourceTestEnv::with(symbolon_emulator::EmulatorBuilder::arc_without_user_assigned).await;
    let ids = test_env.emulator.user_assigned();
    let cache = symbolon::TokenCache::new(
        10,
        &Context::default()
            .with_clock(&test_env.manual_clock)
            .with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    for id in [
        ManagedIdentityId::client_id(&ids.client_id).unwrap(),
        ManagedIdentityId::object_id(&ids.object_id).unwrap(),
        ManagedIdentityId::resource_id(&ids.resource_id).unwrap(),
    ] {
        let identity = test_env.builder(Source::AzureArc).identity(id).cache(cache.clone()).build().unwrap();
        for _ in 0..2 {
            let error = identity.token(RESOURCE).await.unwrap_err();
            assert_eq!(error.code(), "user_assigned_managed_identity_not_confirmed");
            assert_eq!(error.kind(), ErrorKind::Environment);
        }
    }
    assert!(cache.is_empty());
    test_env.on(Source::AzureArc).token(RESOURCE).await.unwrap();
}

#[tokio::test]
async fn four_identities_have_four_tokens() {
    let test_env = SourceTestEnv::new().await;
    let ids = test_env.emulator.user_assigned();
    let cache = symbolon::TokenCache::new(
        10,
        &Context::default()
            .with_clock(&test_env.manual_clock)
            .with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let identities: Vec<_> = [
        ManagedIdentityId::system_assigned(),
        ManagedIdentityId::client_id(&ids.client_id).unwrap(),
        ManagedIdentityId::object_id(&ids.object_id).unwrap(),
        ManagedIdentityId::resource_id(&ids.resource_id).unwrap(),
    ]
    .into_iter()
    .map(|id| test_env.builder(Source::AzureArc).identity(id).cache(cache.clone()).build().unwrap())
    .collect();
    let mut first = Vec::new();
    for identity in &identities {
        first.push(identity.token(RESOURCE).await.unwrap().secret().expose().to_owned());
    }
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((distinct.len(), cache.len(), test_env.request_count(Source::AzureArc)), (4, 4, 4));
    for (identity, first) in identities.iter().zip(&first) {
        let token = identity.token(RESOURCE).await.unwrap();
        assert_eq!((token.origin(), token.secret().expose()), (TokenOrigin::Cache, first.as_str()));
    }
}

#[tokio::test]
async fn unknown_identity_is_the_agents_error() {
    let test_env = SourceTestEnv::new().await;
    let unknown = ManagedIdentityId::client_id("00000000-0000-0000-0000-000000000000").unwrap();
    let error = test_env.as_id(Source::AzureArc, unknown).token(RESOURCE).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(404)));
    assert!(
        error.excerpt().is_some_and(|excerpt| excerpt.contains("identity_not_found")),
        "{:?}",
        error.excerpt()
    );
}

/// The second request is retried, and fails, like the first.
#[tokio::test]
async fn second_request_is_retried_too() {
    let test_env = SourceTestEnv::new().await;
    // The challenge gets a delay of zero instead of a failure.
    let delay = Fault::delay(Step::AzureArc, std::time::Duration::ZERO);
    test_env.emulator.inject(delay.clone());
    test_env.emulator.inject(Fault::status(Step::AzureArc, 503).times(3));
    let token = test_env.on(Source::AzureArc).token(RESOURCE).await.unwrap();
    assert_eq!(token.attempts(), 5, "the challenge, three failures and the token");
    test_env.emulator.inject(delay);
    test_env.emulator.inject(Fault::status(Step::AzureArc, 503).times(4));
    let error = test_env.on(Source::AzureArc).token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(503)));
    assert!(error.to_string().contains("Azure Arc"));
}
