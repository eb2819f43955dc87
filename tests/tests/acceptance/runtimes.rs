//! HTTP: clients in several runtimes, and code of the program that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{
    Attestation, AttestationRequest, Attester, Error, KeyProvider, ManagedIdentity, SharedClock,
    SoftwareKeys, Token,
};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;
use symbolon_token::{
    CacheStore, ClientAssertion, Precondition, PutOutcome, StoredEntry, TokenCache, assertion_fn,
};
use symbolon_transport::{Capabilities, timeout, transport_fn};
use symbolon_types::SharedSigningKey;
use tokio::runtime::{Builder, Runtime};

use crate::test_env::TestEnv;

/// The message of every panic, which must not reach an error.
const MESSAGE: &str = "s3cr3t of a panic";

async fn token(identity: &ManagedIdentity, is_bound: bool) -> Result<Token, Error> {
    let request = identity.token(RESOURCE);
    if is_bound { request.proof_of_possession().await } else { request.await }
}

/// Starts a request in a runtime of its own, which is driven until the request waits at `step`, and
/// then given to `end`. Requests in the runtime of the test must succeed.
async fn other_runtime_is_independent(end: fn(Runtime) -> Option<Runtime>) {
    for (step, is_bound, is_stored) in [
        (Step::PlatformMetadata, true, false),
        (Step::IssueCredential, true, false),
        (Step::IssueCredential, true, true),
        (Step::Token, true, false),
        (Step::ImdsToken, false, false),
    ] {
        let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
        let folder = tempfile::tempdir().unwrap();
        let builder = test_env.builder();
        let builder =
            if is_stored { builder.persist_bindings(folder.path().join("bindings")) } else { builder };
        let identity = builder.build().unwrap();
        // The other runtime leaves a kept connection to each service behind.
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        test_env.emulator.inject(Fault::delay(step, Duration::from_millis(500)));
        let started = identity.clone();
        let request = other.spawn(async move { token(&started, is_bound).await });
        let mut other = Some(other);
        while test_env.count(step) == 0 {
            assert!(!request.is_finished(), "the request does not arrive at {step:?}");
            let runtime = other.take().unwrap();
            let turn = move || {
                runtime.block_on(SharedClock::system().sleep(Duration::from_millis(5)));
                runtime
            };
            other = Some(tokio::task::spawn_blocking(turn).await.unwrap());
        }
        let joined = (0..5).map(|_| {
            let identity = identity.clone();
            tokio::spawn(async move { token(&identity, is_bound).await })
        });
        let joined: Vec<_> = joined.collect();
        tokio::task::yield_now().await;
        let ended = other.take().and_then(end);
        let clock = SharedClock::system();
        let tokens = timeout(&clock, Duration::from_secs(40), join_all(joined)).await;
        for token in tokens.unwrap_or_else(|| panic!("the requests wait for the other runtime at {step:?}")) {
            let token = test_env.keep(token.unwrap().unwrap());
            assert_eq!(test_env.call(&identity, &token).await.status(), 200, "{step:?}");
        }
        drop(request);
        if let Some(runtime) = ended {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_10_idle_runtime_blocks_no_other() {
    other_runtime_is_independent(Some).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_11_ended_runtime_fails_no_other() {
    let end = |runtime: Runtime| {
        runtime.shutdown_background();
        None
    };
    other_runtime_is_independent(end).await;
}

/// Panics at its first call only.
#[derive(Clone, Debug, Default)]
struct FirstCallPanics(Arc<AtomicBool>);

impl FirstCallPanics {
    async fn call(&self) {
        // Concurrent callers join before the panic. Each of them polls this future.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(self.0.swap(true, Ordering::SeqCst), "{MESSAGE}");
    }
}

impl KeyProvider for FirstCallPanics {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.call().await;
        SoftwareKeys::p256().key().await
    }
}

impl Attester for FirstCallPanics {
    async fn attest(&self, _request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        self.call().await;
        let expires_at = SharedClock::system().now() + Duration::from_secs(1_000_000_000);
        Ok(Attestation::new("attested".into(), expires_at))
    }
}

/// Panics at every call.
#[derive(Debug)]
struct PanickingStore;

impl CacheStore for PanickingStore {
    async fn get(&self, _key: &str) -> Result<Option<StoredEntry>, Error> {
        panic!("{MESSAGE}")
    }

    async fn put(
        &self,
        _key: &str,
        _entry: &[u8],
        _ttl: Duration,
        _precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        panic!("{MESSAGE}")
    }

    async fn remove(&self, _key: &str, _precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        panic!("{MESSAGE}")
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

/// Requests ten tokens at once, which fail with `code`, and then one, which succeeds.
async fn fails_once<R>(code: &str, request: impl Fn() -> R)
where
    R: Future<Output = Result<Token, Error>>,
{
    for result in join_all((0..10).map(|_| request())).await {
        let error = result.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(!format!("{error} {error:?}").contains(MESSAGE), "{error:?}");
    }
    request().await.unwrap();
}

#[tokio::test]
async fn http_12_panic_is_an_error_for_all() {
    let test_env = TestEnv::new().await;
    let once = FirstCallPanics::default;

    let identity = test_env.builder().key_provider(once()).build().unwrap();
    fails_once("panicked", || token(&identity, true)).await;

    let identity = test_env.builder().attester(once()).build().unwrap();
    fails_once("attestation_failed", || token(&identity, true)).await;

    let (real, panics) = (test_env.transport(), once());
    let transport = transport_fn(move |request| {
        let (real, panics) = (real.clone(), panics.clone());
        async move {
            panics.call().await;
            symbolon_transport::Transport::send(&real, request).await
        }
    });
    let transport = transport.with_capabilities(Capabilities::none().with_client_certificates());
    let identity = test_env.builder().transport(transport).build().unwrap();
    fails_once("panicked", || token(&identity, false)).await;

    let (managed, panics) = (test_env.identity(), once());
    let source = assertion_fn(move |_| {
        let (managed, panics) = (managed.clone(), panics.clone());
        async move {
            panics.call().await;
            let token = managed.token(RESOURCE).await?;
            Ok(symbolon_token::SignedAssertion::new(token.secret().clone()))
        }
    });
    let credential = ClientAssertion::new(test_env.application(), source);
    let client = test_env.client_builder(credential).build();
    let request = || async { client.token_for_resource(RESOURCE).await };
    for result in join_all((0..10).map(|_| request())).await {
        assert_eq!(result.unwrap_err().code(), "panicked");
    }

    let cache = TokenCache::new(10, &test_env.context()).with_store(PanickingStore);
    let identity = test_env.builder().cache(cache).build().unwrap();
    let bearer = token(&identity, false).await.unwrap();
    assert!(identity.invalidate(&bearer), "works without the store");
}
