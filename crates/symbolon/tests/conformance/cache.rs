//! What is kept, under what, and for how long.

use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Context, ManagedIdentityId, TokenCache, TokenSource};
use symbolon_emulator::{ExpiryFormat, Fault, Source};

use crate::lab::{Lab, RESOURCE, VAULT, answer, drive, resource, variables};

/// NET-01 (as far as it detects), NET-05, NET-07, NET-30, GO-04, GO-06, GO-08, GO-10, GO-11, GO-13.
#[tokio::test]
async fn each_resource_is_asked_for_once_and_without_default() {
    for source in Source::ALL {
        let lab = Lab::new().await;
        let identity = lab.on(source);
        assert_eq!(identity.detection().source, source);
        for (spelled, wire, expected) in [
            (RESOURCE, RESOURCE, TokenSource::Network),
            ("https://management.azure.com/.default", RESOURCE, TokenSource::Cache),
            ("https://vault.azure.net/.default", VAULT, TokenSource::Network),
            (RESOURCE, RESOURCE, TokenSource::Cache),
            (VAULT, VAULT, TokenSource::Cache),
            // One slash of two belongs to the resource.
            ("https://vault.azure.net//.default", "https://vault.azure.net/", TokenSource::Network),
        ] {
            let token = identity.token(spelled).await.unwrap();
            assert_eq!(token.source(), expected, "{source} {spelled}");
            assert_eq!((token.audience(), token.token_type()), (wire, "Bearer"), "{source}");
            if expected == TokenSource::Network {
                assert_eq!(resource(&lab.last(source)), Some(wire), "{source} {spelled}");
            }
        }
        assert_eq!(lab.asked(source), 3, "{source}");
    }
}

/// NET-08, X-05.
#[tokio::test]
async fn a_forced_refresh_does_not_read_the_cache_and_writes_it() {
    for source in Source::ALL {
        let lab = Lab::new().await;
        let identity = lab.on(source);
        let first = identity.token(RESOURCE).await.unwrap();
        assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Cache);
        let second = identity.token(RESOURCE).force_refresh().await.unwrap();
        assert_eq!(second.source(), TokenSource::Network, "{source}");
        let third = identity.token(RESOURCE).await.unwrap();
        assert_eq!(third.secret().expose(), second.secret().expose(), "{source}");
        assert_ne!(third.secret().expose(), first.secret().expose(), "{source}");
        assert_eq!(lab.asked(source), 2, "{source}");
    }
}

/// NET-27, §7.7.13.
#[tokio::test]
async fn ten_callers_share_one_request() {
    for source in Source::ALL {
        let lab = Lab::new().await;
        let identity = lab.on(source);
        let tokens = join_all((0..10).map(|_| identity.token(RESOURCE).into_future())).await;
        let from_network = |token: &symbolon::Token| token.source() == TokenSource::Network;
        let leaders = tokens.iter().filter(|token| from_network(token.as_ref().unwrap())).count();
        assert_eq!((leaders, lab.asked(source)), (1, 1), "{source}");
    }
}

/// NET-21, NET-22, X-09; §2.0.2 over the wire.
#[tokio::test]
async fn the_end_of_a_tokens_life_is_read_in_every_format_and_half_of_a_long_one_is_when_it_is_renewed() {
    let formats = [
        ExpiryFormat::UnixText,
        ExpiryFormat::UnixNumber,
        ExpiryFormat::Rfc3339,
        ExpiryFormat::IsoDate,
        ExpiryFormat::AmericanDate,
        ExpiryFormat::Lifetime,
    ];
    for (hours, half_life) in [(1, false), (2, false), (3, true)] {
        let lifetime = Duration::from_secs(3600 * hours);
        let lab = Lab::with(|emulator| emulator.token_lifetime(lifetime)).await;
        for source in [Source::AppService, Source::ServiceFabric, Source::MachineLearning, Source::AzureArc] {
            for format in formats {
                if source == Source::AzureArc {
                    // The challenge comes first, and takes a fault that it has no use for.
                    lab.emulator.inject(Fault::expiry(crate::lab::step(source), format));
                }
                lab.emulator.inject(Fault::expiry(crate::lab::step(source), format));
                let token = lab.on(source).token(RESOURCE).await.unwrap();
                let now = lab.now();
                let left = token.expires_on().duration_since(now).unwrap();
                assert!(lifetime - left < Duration::from_secs(1), "{source} {format:?}: {left:?}");
                // Half of it, give or take at most five minutes of jitter.
                let renewed = token.refresh_on().duration_since(now).unwrap();
                let is_half = renewed <= lifetime / 2 + Duration::from_secs(300);
                assert_eq!(is_half, half_life, "{source} {format:?} {hours}: {renewed:?}");
            }
        }
    }
    let lab = Lab::with(|emulator| emulator.token_lifetime(Duration::ZERO)).await;
    let error = lab.on(Source::AppService).token(RESOURCE).await.unwrap_err();
    assert_eq!(error.code(), "invalid_response", "a token without a life");
}

/// NET-23, NET-26, DEV-15.
#[tokio::test]
async fn a_token_that_is_due_is_served_while_another_one_is_fetched() {
    for source in Source::ALL {
        let lab = Lab::with(|emulator| emulator.token_lifetime(Duration::from_secs(4 * 3600))).await;
        let identity = lab.on(source);
        let old = identity.token(RESOURCE).await.unwrap();
        lab.hands.advance(Duration::from_secs(2 * 3600 + 301));
        let served = identity.token(RESOURCE).await.unwrap();
        assert_eq!(served.secret().expose(), old.secret().expose(), "{source}");
        assert_eq!(served.refresh_on(), old.refresh_on());
        // The caller is done; the request goes on without it.
        let mut new = identity.token(RESOURCE).await.unwrap();
        for _ in 0..500 {
            if new.secret().expose() != old.secret().expose() {
                break;
            }
            symbolon::SharedClock::system().sleep(Duration::from_millis(10)).await;
            new = identity.token(RESOURCE).await.unwrap();
        }
        assert_ne!(new.secret().expose(), old.secret().expose(), "{source}");
        assert!(new.refresh_on() > lab.now());
        assert_eq!(lab.asked(source), 2, "{source}: one request, whoever asked meanwhile");
    }
}

/// §7.7.13, H-27.
#[tokio::test]
async fn a_renewal_that_fails_keeps_the_token() {
    let lab = Lab::with(|emulator| emulator.token_lifetime(Duration::from_secs(4 * 3600))).await;
    let identity = lab.on(Source::AppService);
    let old = identity.token(RESOURCE).await.unwrap();
    lab.hands.advance(Duration::from_secs(2 * 3600 + 301));
    lab.emulator.inject(Fault::status(crate::lab::step(Source::AppService), 500).always());
    for _ in 0..5 {
        let served = identity.token(RESOURCE).await.unwrap();
        assert_eq!(served.secret().expose(), old.secret().expose());
        tokio::task::yield_now().await;
    }
}

/// NET-33, X-06, DEV-14: one cache, and identities that must not meet in it.
#[tokio::test]
async fn identities_kinds_of_ids_and_sources_are_kept_apart_in_a_shared_cache() {
    let lab = Lab::new().await;
    let ids = lab.emulator.user_assigned();
    let cache = TokenCache::new(
        100,
        &Context::default().with_clock(&lab.hands).with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let everybody = || {
        [
            (Source::AppService, ManagedIdentityId::system_assigned()),
            (Source::AppService, ManagedIdentityId::client_id(ids.client_id()).unwrap()),
            (Source::AppService, ManagedIdentityId::object_id(ids.object_id()).unwrap()),
            (Source::AppService, ManagedIdentityId::resource_id(ids.resource_id()).unwrap()),
            (Source::Imds, ManagedIdentityId::client_id(ids.client_id()).unwrap()),
            (Source::Imds, ManagedIdentityId::system_assigned()),
        ]
    };
    for expected in [TokenSource::Network, TokenSource::Cache] {
        for (source, id) in everybody() {
            let identity = lab.builder(source).identity(id.clone()).cache(cache.clone()).build().unwrap();
            assert_eq!(identity.token(RESOURCE).await.unwrap().source(), expected, "{source} {id:?}");
        }
    }
    assert_eq!(cache.len(), 6);
    // Ids compare without case.
    let shouted = ManagedIdentityId::resource_id(ids.resource_id().to_ascii_uppercase()).unwrap();
    let identity = lab.builder(Source::AppService).identity(shouted).cache(cache.clone()).build().unwrap();
    assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Cache);
}

/// DEV-14: only the service knows which ids belong to one identity.
#[test]
fn the_same_text_as_another_kind_of_id_is_another_identity() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    let hands = symbolon::parts::types::ManualClock::new();
    let clock = symbolon::SharedClock::from(&hands);
    let cache = TokenCache::new(
        10,
        &Context::default().with_clock(clock.clone()).with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let transport = ScriptedTransport::new((0..3).map(|_| crate::lab::token()));
    for id in [
        ManagedIdentityId::client_id("one").unwrap(),
        ManagedIdentityId::object_id("one").unwrap(),
        ManagedIdentityId::resource_id("one").unwrap(),
    ] {
        let identity = symbolon::ManagedIdentity::builder()
            .context(Context::default().with_env(variables(Source::AppService)).with_clock(clock.clone()))
            .identity(id.clone())
            .cache(cache.clone())
            .transport(transport.clone())
            .build()
            .unwrap();
        for expected in [TokenSource::Network, TokenSource::Cache] {
            let token = drive(identity.token(RESOURCE), &hands).0.unwrap();
            assert_eq!(token.source(), expected, "{id:?}");
        }
    }
    assert_eq!(cache.len(), 3);
}

/// §7.7.15, D-22: the token is kept under what was asked for.
#[test]
fn an_answer_that_spells_the_resource_differently_is_found_again() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    for source in [Source::AppService, Source::ServiceFabric, Source::CloudShell, Source::Imds] {
        let hands = symbolon::parts::types::ManualClock::new();
        let echo = r#"{"access_token":"t","expires_in":"3600","resource":"https://management.azure.com/"}"#;
        let transport = ScriptedTransport::new([answer(200, echo)]);
        let identity = symbolon::ManagedIdentity::builder()
            .context(Context::default().with_env(variables(source)).with_clock(&hands))
            .transport(transport)
            .build()
            .unwrap();
        for expected in [TokenSource::Network, TokenSource::Cache] {
            let (token, waits) = drive(identity.token(RESOURCE), &hands);
            assert_eq!(token.unwrap().source(), expected, "{source}");
            assert!(waits.is_empty());
        }
    }
}

/// GO-24: the hint of a server counts.
#[test]
fn a_server_that_says_when_to_renew_is_heard() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    let hands = symbolon::parts::types::ManualClock::new();
    let answers = [
        answer(200, r#"{"access_token":"old","expires_in":86400,"refresh_in":3600}"#),
        answer(200, r#"{"access_token":"new","expires_in":86400,"refresh_in":3600}"#),
    ];
    let identity = symbolon::ManagedIdentity::builder()
        .context(
            Context::default()
                .with_env(variables(Source::CloudShell))
                .with_clock(&hands)
                .with_jitter(symbolon::parts::types::Jitter::fixed(0.0)),
        )
        .transport(ScriptedTransport::new(answers))
        .build()
        .unwrap();
    let ask = || drive(identity.token(RESOURCE), &hands).0.unwrap();
    assert_eq!(ask().refresh_on(), symbolon::SharedClock::from(&hands).now() + Duration::from_secs(3600));
    hands.advance(Duration::from_secs(3601));
    // Without a runtime there is no background: the caller fetches the new one, or has the old one.
    let served: Vec<String> = (0..3).map(|_| ask().secret().expose().to_owned()).collect();
    assert_eq!(served.last().map(String::as_str), Some("new"), "{served:?}");
}
