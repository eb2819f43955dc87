//! The token cache: keys, expiry and refresh.

use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Context, ManagedIdentityId, TokenCache, TokenOrigin};
use symbolon_emulator::{ExpiryFormat, Fault, Source};

use crate::test_env::{RESOURCE, SourceTestEnv, VAULT, answer, drive, resource, variables};

/// A scope with `/.default` is the same resource.
#[tokio::test]
async fn resource_is_requested_once() {
    for source in Source::ALL {
        let test_env = SourceTestEnv::new().await;
        let identity = test_env.on(source);
        assert_eq!(identity.detection().source, source);
        for (spelled, wire, expected) in [
            (RESOURCE, RESOURCE, TokenOrigin::Network),
            ("https://management.azure.com/.default", RESOURCE, TokenOrigin::Cache),
            ("https://vault.azure.net/.default", VAULT, TokenOrigin::Network),
            (RESOURCE, RESOURCE, TokenOrigin::Cache),
            (VAULT, VAULT, TokenOrigin::Cache),
            // The first of two slashes belongs to the resource.
            ("https://vault.azure.net//.default", "https://vault.azure.net/", TokenOrigin::Network),
        ] {
            let token = identity.token(spelled).await.unwrap();
            assert_eq!(token.origin(), expected, "{source} {spelled}");
            assert_eq!((token.audience(), token.token_type()), (wire, "Bearer"), "{source}");
            if expected == TokenOrigin::Network {
                assert_eq!(resource(&test_env.last(source)), Some(wire), "{source} {spelled}");
            }
        }
        assert_eq!(test_env.request_count(source), 3, "{source}");
    }
}

#[tokio::test]
async fn forced_refresh_replaces_the_cached_token() {
    for source in Source::ALL {
        let test_env = SourceTestEnv::new().await;
        let identity = test_env.on(source);
        let first = identity.token(RESOURCE).await.unwrap();
        assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Cache);
        let second = identity.token(RESOURCE).force_refresh().await.unwrap();
        assert_eq!(second.origin(), TokenOrigin::Network, "{source}");
        let third = identity.token(RESOURCE).await.unwrap();
        assert_eq!(third.secret().expose(), second.secret().expose(), "{source}");
        assert_ne!(third.secret().expose(), first.secret().expose(), "{source}");
        assert_eq!(test_env.request_count(source), 2, "{source}");
    }
}

#[tokio::test]
async fn concurrent_callers_share_one_request() {
    for source in Source::ALL {
        let test_env = SourceTestEnv::new().await;
        let identity = test_env.on(source);
        let tokens = join_all((0..10).map(|_| identity.token(RESOURCE).into_future())).await;
        let from_network = |token: &symbolon::Token| token.origin() == TokenOrigin::Network;
        let leaders = tokens.iter().filter(|token| from_network(token.as_ref().unwrap())).count();
        assert_eq!((leaders, test_env.request_count(source)), (1, 1), "{source}");
    }
}

/// Tokens that live for more than two hours are refreshed after half of their lifetime.
#[tokio::test]
async fn expiry_is_read_in_every_format() {
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
        let test_env = SourceTestEnv::with(|emulator| emulator.token_lifetime(lifetime)).await;
        for source in [Source::AppService, Source::ServiceFabric, Source::MachineLearning, Source::AzureArc] {
            for format in formats {
                if source == Source::AzureArc {
                    // The first fault applies to the challenge, where it has no effect.
                    test_env.emulator.inject(Fault::expiry(crate::test_env::step(source), format));
                }
                test_env.emulator.inject(Fault::expiry(crate::test_env::step(source), format));
                let token = test_env.on(source).token(RESOURCE).await.unwrap();
                let now = test_env.now();
                let left = token.expires_on().duration_since(now).unwrap();
                assert!(lifetime - left < Duration::from_secs(1), "{source} {format:?}: {left:?}");
                // Half of the lifetime, plus or minus five minutes of jitter.
                let renewed = token.refresh_on().duration_since(now).unwrap();
                let is_half = renewed <= lifetime / 2 + Duration::from_secs(300);
                assert_eq!(is_half, half_life, "{source} {format:?} {hours}: {renewed:?}");
            }
        }
    }
    let test_env = SourceTestEnv::with(|emulator| emulator.token_lifetime(Duration::ZERO)).await;
    let error = test_env.on(Source::AppService).token(RESOURCE).await.unwrap_err();
    assert_eq!(error.code(), "invalid_response", "an expired token");
}

#[tokio::test]
async fn due_token_is_served_during_refresh() {
    for source in Source::ALL {
        let test_env =
            SourceTestEnv::with(|emulator| emulator.token_lifetime(Duration::from_secs(4 * 3600))).await;
        let identity = test_env.on(source);
        let old = identity.token(RESOURCE).await.unwrap();
        test_env.manual_clock.advance(Duration::from_secs(2 * 3600 + 301));
        let served = identity.token(RESOURCE).await.unwrap();
        assert_eq!(served.secret().expose(), old.secret().expose(), "{source}");
        assert_eq!(served.refresh_on(), old.refresh_on());
        // The refresh continues without the caller.
        let mut new = identity.token(RESOURCE).await.unwrap();
        for _ in 0..500 {
            if new.secret().expose() != old.secret().expose() {
                break;
            }
            symbolon::SharedClock::system().sleep(Duration::from_millis(10)).await;
            new = identity.token(RESOURCE).await.unwrap();
        }
        assert_ne!(new.secret().expose(), old.secret().expose(), "{source}");
        assert!(new.refresh_on() > test_env.now());
        assert_eq!(test_env.request_count(source), 2, "{source}: one request for all callers");
    }
}

#[tokio::test]
async fn failed_refresh_keeps_the_token() {
    let test_env =
        SourceTestEnv::with(|emulator| emulator.token_lifetime(Duration::from_secs(4 * 3600))).await;
    let identity = test_env.on(Source::AppService);
    let old = identity.token(RESOURCE).await.unwrap();
    test_env.manual_clock.advance(Duration::from_secs(2 * 3600 + 301));
    test_env.emulator.inject(Fault::status(crate::test_env::step(Source::AppService), 500).always());
    for _ in 0..5 {
        let served = identity.token(RESOURCE).await.unwrap();
        assert_eq!(served.secret().expose(), old.secret().expose());
        tokio::task::yield_now().await;
    }
}

/// Source, kind of id and id are part of the cache key.
#[tokio::test]
async fn shared_cache_separates_identities() {
    let test_env = SourceTestEnv::new().await;
    let ids = test_env.emulator.user_assigned();
    let cache = TokenCache::new(
        100,
        &Context::default()
            .with_clock(&test_env.manual_clock)
            .with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let identities = || {
        [
            (Source::AppService, ManagedIdentityId::system_assigned()),
            (Source::AppService, ManagedIdentityId::client_id(&ids.client_id).unwrap()),
            (Source::AppService, ManagedIdentityId::object_id(&ids.object_id).unwrap()),
            (Source::AppService, ManagedIdentityId::resource_id(&ids.resource_id).unwrap()),
            (Source::Imds, ManagedIdentityId::client_id(&ids.client_id).unwrap()),
            (Source::Imds, ManagedIdentityId::system_assigned()),
        ]
    };
    for expected in [TokenOrigin::Network, TokenOrigin::Cache] {
        for (source, id) in identities() {
            let identity =
                test_env.builder(source).identity(id.clone()).cache(cache.clone()).build().unwrap();
            assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), expected, "{source} {id:?}");
        }
    }
    assert_eq!(cache.len(), 6);
    // Ids compare without case.
    let upper_case = ManagedIdentityId::resource_id(ids.resource_id.to_ascii_uppercase()).unwrap();
    let identity =
        test_env.builder(Source::AppService).identity(upper_case).cache(cache.clone()).build().unwrap();
    assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Cache);
}

/// Only the source can tell that two ids name the same identity.
#[test]
fn shared_cache_separates_kinds_of_ids() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    let manual_clock = symbolon::parts::types::ManualClock::new();
    let clock = symbolon::SharedClock::from(&manual_clock);
    let cache = TokenCache::new(
        10,
        &Context::default().with_clock(clock.clone()).with_jitter(symbolon::parts::types::Jitter::fixed(0.5)),
    );
    let transport = ScriptedTransport::new((0..3).map(|_| crate::test_env::token()));
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
        for expected in [TokenOrigin::Network, TokenOrigin::Cache] {
            let token = drive(identity.token(RESOURCE), &manual_clock).0.unwrap();
            assert_eq!(token.origin(), expected, "{id:?}");
        }
    }
    assert_eq!(cache.len(), 3);
}

/// Every variable that a source reads is part of the cache key, in memory and in a local store: two
/// environments of one kind of source are two identities.
#[test]
fn shared_cache_separates_environments() {
    use symbolon::parts::token::MemoryStore;
    use symbolon::parts::transport::testing::ScriptedTransport;
    for source in Source::ALL {
        let base: Vec<(String, String)> = variables(source)
            .explicit()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        // The last character of an endpoint, a secret, a pin or an id becomes another digit.
        let others = (0..base.len()).map(|changed| {
            let mut other = base.clone();
            let last = other[changed].1.pop();
            other[changed].1.push(if last == Some('7') { '8' } else { '7' });
            other
        });
        let environments: Vec<_> = std::iter::once(base.clone()).chain(others).collect();
        let manual_clock = symbolon::parts::types::ManualClock::new();
        let context = Context::default().with_clock(&manual_clock);
        let store = MemoryStore::new(symbolon::SharedClock::from(&manual_clock));
        let answers = (0..environments.len())
            .map(|of| answer(200, &format!(r#"{{"access_token":"token-{of}","expires_in":"3600"}}"#)));
        let transport = ScriptedTransport::new(answers);
        for round in 0..3 {
            // The last round begins with an empty memory, as another process does.
            let cache = TokenCache::new(100, &context).with_store(store.clone());
            for (of, environment) in environments.iter().enumerate() {
                let env = environment.iter().cloned().collect();
                let identity = symbolon::ManagedIdentity::builder()
                    .context(context.clone().with_env(env))
                    .cache(cache.clone())
                    .transport(transport.clone())
                    .build()
                    .unwrap();
                let token = drive(identity.token(RESOURCE), &manual_clock).0.unwrap();
                assert_eq!(
                    token.secret().expose(),
                    format!("token-{of}"),
                    "{source} {round}: {environment:?}"
                );
            }
        }
        assert_eq!(transport.requests().len(), environments.len(), "{source}");
    }
}

/// Two applications of one Service Fabric cluster, and two machines, over real TLS.
#[tokio::test]
async fn shared_cache_separates_two_hosts() {
    for source in Source::ALL {
        let hosts = [SourceTestEnv::new().await, SourceTestEnv::new().await];
        let cache = TokenCache::new(100, &Context::default().with_clock(&hosts[0].manual_clock));
        let mut secrets = Vec::new();
        for host in &hosts {
            let identity = host.builder(source).cache(cache.clone()).build().unwrap();
            let token = identity.token(RESOURCE).await.unwrap();
            assert_eq!(token.origin(), TokenOrigin::Network, "{source}");
            secrets.push(token.secret().expose().to_owned());
        }
        assert_ne!(secrets[0], secrets[1], "{source}");
    }
}

/// The spelling of the resource in the response does not matter.
#[test]
fn cache_key_is_the_requested_resource() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    for source in [Source::AppService, Source::ServiceFabric, Source::CloudShell, Source::Imds] {
        let manual_clock = symbolon::parts::types::ManualClock::new();
        let echo = r#"{"access_token":"t","expires_in":"3600","resource":"https://management.azure.com/"}"#;
        let transport = ScriptedTransport::new([answer(200, echo)]);
        let identity = symbolon::ManagedIdentity::builder()
            .context(Context::default().with_env(variables(source)).with_clock(&manual_clock))
            .transport(transport)
            .build()
            .unwrap();
        for expected in [TokenOrigin::Network, TokenOrigin::Cache] {
            let (token, waits) = drive(identity.token(RESOURCE), &manual_clock);
            assert_eq!(token.unwrap().origin(), expected, "{source}");
            assert!(waits.is_empty());
        }
    }
}

#[test]
fn refresh_in_sets_the_refresh_time() {
    use symbolon::parts::transport::testing::ScriptedTransport;
    // Tokens keep their times in microseconds.
    let start = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let manual_clock = symbolon::parts::types::ManualClock::at(start);
    let answers = [
        answer(200, r#"{"access_token":"old","expires_in":86400,"refresh_in":3600}"#),
        answer(200, r#"{"access_token":"new","expires_in":86400,"refresh_in":3600}"#),
    ];
    let identity = symbolon::ManagedIdentity::builder()
        .context(
            Context::default()
                .with_env(variables(Source::CloudShell))
                .with_clock(&manual_clock)
                .with_jitter(symbolon::parts::types::Jitter::fixed(0.0)),
        )
        .transport(ScriptedTransport::new(answers))
        .build()
        .unwrap();
    let ask = || drive(identity.token(RESOURCE), &manual_clock).0.unwrap();
    assert_eq!(ask().refresh_on(), start + Duration::from_secs(3600));
    manual_clock.advance(Duration::from_secs(3601));
    // Without a runtime there is no background task: a caller fetches the new token itself.
    let served: Vec<String> = (0..3).map(|_| ask().secret().expose().to_owned()).collect();
    assert_eq!(served.last().map(String::as_str), Some("new"), "{served:?}");
}
