//! Azure Arc: two requests, and proof in a file.

use symbolon::{Context, ErrorKind, ManagedIdentityId, TokenSource};
use symbolon_emulator::{Fault, Source, Step};

use crate::lab::{Lab, RESOURCE, Scripted, VAULT, token};

/// GO-13, X-02.
#[tokio::test]
async fn the_challenge_is_answered_with_what_is_in_the_file() {
    let lab = Lab::new().await;
    let identity = lab.on(Source::AzureArc);
    assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Network);
    let journal = lab.emulator.journal();
    let told: Vec<_> = journal
        .of(Step::AzureArc)
        .map(|entry| {
            (entry.status(), entry.authorization_scheme().map(str::to_owned), entry.header("metadata"))
        })
        .collect();
    let basic = Some("Basic".to_owned());
    assert_eq!(told, [(Some(401), None, Some("true")), (Some(200), basic, Some("true"))]);
    for entry in journal.of(Step::AzureArc) {
        assert_eq!(
            (entry.query("api-version"), entry.query("resource")),
            (Some("2020-06-01"), Some(RESOURCE))
        );
    }
    assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Cache);
    assert_eq!(lab.emulator.journal().count(Step::AzureArc), 2);
}

/// D-16, H-14: an agent that asks for nothing is believed.
#[test]
fn an_answer_without_a_challenge_is_a_token_as_well() {
    let asked = Scripted::ask(Source::AzureArc, vec![token()]);
    assert_eq!(asked.outcome.unwrap().secret().expose(), "t");
}

/// ARC-02, ARC-03, GO-21 end to end: whoever answers for the agent does not choose what is read.
#[tokio::test]
async fn a_challenge_that_names_another_file_is_not_answered() {
    let lab = Lab::new().await;
    for realm in [None, Some("Basic realm=/etc/hostname"), Some("Basic realm=/etc/x.key"), Some("Bearer x")] {
        let mut fault = Fault::status(Step::AzureArc, 401);
        if let Some(realm) = realm {
            fault = fault.header("www-authenticate", realm);
        }
        lab.emulator.inject(fault);
        let before = lab.emulator.journal().count(Step::AzureArc);
        let error = lab.on(Source::AzureArc).token(RESOURCE).await.unwrap_err();
        assert_eq!(error.code(), "managed_identity_request_failed", "{realm:?}");
        assert!(error.to_string().contains("Azure Arc agent") && error.correlation_id().is_some(), "{error}");
        assert_eq!(lab.emulator.journal().count(Step::AzureArc), before + 1, "{realm:?}");
    }
}

/// GO-16, §7.7.10, ARC-01 as it is superseded: an agent that does not know identities.
#[tokio::test]
async fn a_token_that_the_agent_does_not_confirm_is_discarded() {
    let lab = Lab::with(symbolon_emulator::EmulatorBuilder::arc_without_user_assigned).await;
    let ids = lab.emulator.user_assigned();
    let cache = symbolon::TokenCache::new(
        10,
        &Context::default().with_clock(&lab.hands).with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    for id in [
        ManagedIdentityId::client_id(ids.client_id()).unwrap(),
        ManagedIdentityId::object_id(ids.object_id()).unwrap(),
        ManagedIdentityId::resource_id(ids.resource_id()).unwrap(),
    ] {
        let identity = lab.builder(Source::AzureArc).identity(id).cache(cache.clone()).build().unwrap();
        for _ in 0..2 {
            let error = identity.token(RESOURCE).await.unwrap_err();
            assert_eq!(error.code(), "user_assigned_managed_identity_not_confirmed");
            assert_eq!(error.kind(), ErrorKind::Environment);
        }
    }
    assert!(cache.is_empty());
    lab.on(Source::AzureArc).token(RESOURCE).await.unwrap();
}

/// GO-14, GO-15, GO-19.
#[tokio::test]
async fn four_identities_have_four_tokens() {
    let lab = Lab::new().await;
    let ids = lab.emulator.user_assigned();
    let cache = symbolon::TokenCache::new(
        10,
        &Context::default().with_clock(&lab.hands).with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let identities: Vec<_> = [
        ManagedIdentityId::system_assigned(),
        ManagedIdentityId::client_id(ids.client_id()).unwrap(),
        ManagedIdentityId::object_id(ids.object_id()).unwrap(),
        ManagedIdentityId::resource_id(ids.resource_id()).unwrap(),
    ]
    .into_iter()
    .map(|id| lab.builder(Source::AzureArc).identity(id).cache(cache.clone()).build().unwrap())
    .collect();
    let mut first = Vec::new();
    for identity in &identities {
        first.push(identity.token(RESOURCE).await.unwrap().secret().expose().to_owned());
    }
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((distinct.len(), cache.len(), lab.asked(Source::AzureArc)), (4, 4, 4));
    for (identity, first) in identities.iter().zip(&first) {
        let token = identity.token(RESOURCE).await.unwrap();
        assert_eq!((token.source(), token.secret().expose()), (TokenSource::Cache, first.as_str()));
    }
}

/// GO-18.
#[tokio::test]
async fn an_identity_that_the_agent_does_not_know_is_the_agents_error() {
    let lab = Lab::new().await;
    let stranger = ManagedIdentityId::client_id("00000000-0000-0000-0000-000000000000").unwrap();
    let error = lab.as_id(Source::AzureArc, stranger).token(RESOURCE).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(404)));
    assert!(error.excerpt().is_some_and(|said| said.contains("identity_not_found")), "{:?}", error.excerpt());
}

/// §7.7.9, H-9: the second request is retried, and fails, like the first.
#[tokio::test]
async fn a_failure_after_the_challenge_is_like_any_other() {
    let lab = Lab::new().await;
    // The delay lets the challenge through.
    let late = Fault::delay(Step::AzureArc, std::time::Duration::ZERO);
    lab.emulator.inject(late.clone());
    lab.emulator.inject(Fault::status(Step::AzureArc, 503).times(3));
    let token = lab.on(Source::AzureArc).token(RESOURCE).await.unwrap();
    assert_eq!(token.attempts(), 5, "the challenge, three failures and the token");
    lab.emulator.inject(late);
    lab.emulator.inject(Fault::status(Step::AzureArc, 503).times(4));
    let error = lab.on(Source::AzureArc).token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(503)));
    assert!(error.to_string().contains("Azure Arc"));
}
