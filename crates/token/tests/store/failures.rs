//! A store that fails or does not respond.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use symbolon_token::{
    AuthorizationCode, CacheStore, Error, ErrorKind, LockOutcome, MemoryStore, Precondition, PutOutcome,
    RequestOptions, StoredEntry, TokenCache, TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::transport_fn;
use symbolon_types::{Context, Jitter, Secret};

use crate::env::{SCOPE, TestEnv, issued, issued_with_refresh_token, shown};

/// A store that fails or does not respond.
#[derive(Debug)]
struct FailingStore {
    responds: bool,
    calls: Arc<AtomicUsize>,
}

impl FailingStore {
    async fn fail<T>(&self) -> Result<T, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if !self.responds {
            std::future::pending::<()>().await;
        }
        Err(Error::new(ErrorKind::Environment, "store_unavailable", "the store is down"))
    }
}

impl CacheStore for FailingStore {
    async fn get(&self, _: &str) -> Result<Option<StoredEntry>, Error> {
        self.fail().await
    }

    async fn put(&self, _: &str, _: &[u8], _: Duration, _: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.fail().await
    }

    async fn remove(&self, _: &str, _: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.fail().await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn failing_store_fails_no_request() {
    let env = TestEnv::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let cache = TokenCache::new(
        100,
        &Context::default().with_clock(env.clock.clone()).with_jitter(Jitter::fixed(0.0)),
    )
    .with_store(FailingStore { responds: true, calls: Arc::clone(&calls) });
    let transport = ScriptedTransport::new([issued_with_refresh_token("one", "rt"), issued("two")]);
    let process = env.process_with(&transport, cache);
    let token = process
        .redeem_code(&AuthorizationCode::new(Secret::new("code"), "https://app.example"), "a")
        .await
        .unwrap();
    assert_eq!(shown(&token), ("one", TokenOrigin::Network));
    let account = token.account().unwrap();
    // The refresh token is in memory.
    let token = process.token_for_account(account, "b").await.unwrap();
    assert_eq!(shown(&token), ("two", TokenOrigin::Network));
    assert!(calls.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn slow_store_delays_two_seconds_each_way() {
    let env = TestEnv::new();
    let cache = TokenCache::new(
        100,
        &Context::default().with_clock(env.clock.clone()).with_jitter(Jitter::fixed(0.0)),
    )
    .with_store(FailingStore { responds: false, calls: Arc::default() });
    let process = env.process_with(&ScriptedTransport::new([issued("one")]), cache);
    let began = env.clock.now();
    let mut request = std::pin::pin!(process.token(SCOPE).into_future());
    let token = loop {
        if let Some(token) = (&mut request).now_or_never() {
            break token.unwrap();
        }
        assert_eq!(env.manual_clock.advance_to_next(), Some(Duration::from_secs(2)));
    };
    assert_eq!(shown(&token), ("one", TokenOrigin::Network));
    assert_eq!(env.clock.now().duration_since(began).unwrap(), Duration::from_secs(4));
    assert_eq!(
        process.token(SCOPE).await.unwrap().origin(),
        TokenOrigin::Cache,
        "a hit does not call the store"
    );
}

/// A store that responds, and whose lock is never acquired.
#[derive(Debug)]
struct LockedStore(MemoryStore);

impl CacheStore for LockedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        self.0.put(key, entry, ttl, precondition).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.0.remove(key, precondition).await
    }

    async fn lock(&self, _: &str, _: Option<&str>) -> Result<LockOutcome, Error> {
        std::future::pending().await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

/// Neither a slow store nor its lock uses up the time of the exchange.
#[tokio::test]
async fn store_leaves_half_of_the_deadline() {
    for is_locked in [true, false] {
        let env = TestEnv::new();
        let context = Context::default().with_clock(env.clock.clone()).with_jitter(Jitter::fixed(0.0));
        let cache = TokenCache::new(100, &context);
        let cache = match is_locked {
            true => cache.with_store(LockedStore(env.store.clone())),
            false => cache.with_store(FailingStore { responds: false, calls: Arc::default() }),
        };
        let clock = env.clock.clone();
        let slow = transport_fn(move |_| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(100)).await;
                issued("one")
            }
        });
        let process = env.process_over(slow, cache);
        let options = RequestOptions::default().with_deadline(Duration::from_secs(1));
        let mut request = std::pin::pin!(process.token(SCOPE).options(options).into_future());
        let token = loop {
            if let Some(token) = (&mut request).now_or_never() {
                break token.unwrap();
            }
            env.manual_clock.advance_to_next().unwrap();
        };
        assert_eq!(shown(&token), ("one", TokenOrigin::Network));
    }
}
