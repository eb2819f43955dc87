//! A store that fails or does not respond.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use symbolon_token::{
    AuthorizationCode, CacheStore, Error, ErrorKind, Precondition, PutOutcome, StoredEntry, TokenCache,
    TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
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
