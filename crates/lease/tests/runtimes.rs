//! One cache in several runtimes, and loads that panic.

#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use symbolon_lease::{Lease, LeaseCache, Loaded, Obtained, Origin};
use symbolon_types::{Error, ManualClock, SharedClock};
use tokio::runtime::{Builder, Runtime};

const HOUR: Duration = Duration::from_secs(3600);
const KEY: &str = "key";

/// A cache on a manual clock, with loads that need the timer of the runtime that polls them first.
struct TestEnv {
    manual_clock: ManualClock,
    cache: LeaseCache<&'static str, usize>,
    loads: Arc<AtomicUsize>,
}

impl TestEnv {
    fn new() -> Self {
        let manual_clock = ManualClock::new();
        let cache = LeaseCache::new(100, SharedClock::from(&manual_clock));
        Self { manual_clock, cache, loads: Arc::default() }
    }

    /// Returns the value, which is the number of the load that it comes from.
    fn obtain(&self) -> impl Future<Output = Result<Obtained<usize>, Error>> + Send + 'static + use<> {
        let (cache, loads) = (self.cache.clone(), Arc::clone(&self.loads));
        let now = SharedClock::from(&self.manual_clock).steady_now();
        let lease = move |value| Lease::new(value, now.plus(HOUR)).with_refresh_at(now.plus(HOUR / 2));
        async move {
            let load = || async move {
                let number = loads.fetch_add(1, Ordering::SeqCst) + 1;
                timer().await;
                Ok(Loaded::new(lease(number)))
            };
            cache.obtain(&KEY, load).await
        }
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

#[expect(clippy::disallowed_methods, reason = "a timer of the runtime is the subject of these tests")]
async fn timer() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Starts a load on the runtime, which is not driven afterwards.
fn start_on(runtime: &Runtime, env: &TestEnv) {
    drop(runtime.spawn(env.obtain()));
    runtime.block_on(tokio::task::yield_now());
}

#[expect(clippy::disallowed_methods, reason = "ends a test that would hang")]
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("the caller is not blocked")
}

#[test]
fn idle_runtime_does_not_block_callers() {
    let (idle, driven, env) = (runtime(), runtime(), TestEnv::new());
    start_on(&idle, &env);
    assert_eq!(env.loads(), 1);
    let callers = (0..10).map(|_| env.obtain());
    let results = driven.block_on(in_time(futures_util::future::join_all(callers)));
    assert!(results.into_iter().all(|result| result.unwrap().value == 2));
    assert_eq!(env.loads(), 2, "the callers of one runtime share a load");
}

#[test]
fn dropped_runtime_does_not_fail_callers() {
    let (dropped, driven, env) = (runtime(), runtime(), TestEnv::new());
    start_on(&dropped, &env);
    let caller = driven.spawn(env.obtain());
    driven.block_on(tokio::task::yield_now());
    drop(dropped);
    assert_eq!(driven.block_on(in_time(caller)).unwrap().unwrap().value, 2);
}

#[test]
fn idle_renewal_does_not_block_after_expiry() {
    let (idle, driven, env) = (runtime(), runtime(), TestEnv::new());
    assert_eq!(idle.block_on(env.obtain()).unwrap().value, 1);
    env.manual_clock.advance(HOUR / 2);
    start_on(&idle, &env);
    env.manual_clock.advance(HOUR / 2);
    assert_eq!(driven.block_on(in_time(env.obtain())).unwrap().value, 3);
}

#[test]
fn idle_renewal_is_replaced_while_value_is_due() {
    let (idle, driven, env) = (runtime(), runtime(), TestEnv::new());
    assert_eq!(idle.block_on(env.obtain()).unwrap().value, 1);
    env.manual_clock.advance(HOUR / 2);
    start_on(&idle, &env);
    assert_eq!(env.loads(), 2);
    let obtain = || driven.block_on(env.obtain()).unwrap().value;
    assert_eq!(obtain(), 1);
    driven.block_on(timer());
    assert_eq!(env.loads(), 2, "another runtime has just started a renewal");
    env.manual_clock.advance(Duration::from_secs(61));
    assert_eq!(obtain(), 1);
    let renewed = driven.block_on(in_time(async {
        loop {
            match env.cache.find(&KEY).unwrap().value {
                1 => timer().await,
                renewed => break renewed,
            }
        }
    }));
    assert_eq!(renewed, 3);
}

#[test]
fn load_that_was_not_driven_is_not_joined() {
    let (runtime, env) = (runtime(), TestEnv::new());
    start_on(&runtime, &env);
    env.manual_clock.advance(Duration::from_secs(61));
    let obtained = runtime.block_on(in_time(env.obtain())).unwrap();
    assert_eq!((obtained.value, obtained.origin), (2, Origin::Load), "not the result of an old load");
}

#[test]
fn caller_without_runtime_loads_itself() {
    let (idle, env) = (runtime(), TestEnv::new());
    start_on(&idle, &env);
    let lease = Lease::new(9, SharedClock::from(&env.manual_clock).steady_now().plus(HOUR));
    let load = || async move { Ok(Loaded::new(lease)) };
    let obtained = env.cache.obtain(&KEY, load).now_or_never().expect("nothing to wait for").unwrap();
    assert_eq!(obtained.value, 9);
}

#[test]
fn panicking_load_is_an_error_for_all() {
    let cache = LeaseCache::<&str, usize>::new(1, SharedClock::system());
    let load = |is_first: bool| {
        move || async move {
            assert!(is_first, "the second caller joins");
            tokio::task::yield_now().await;
            panic!("s3cr3t of the test")
        }
    };
    let (first, second) = runtime().block_on(async {
        futures_util::join!(cache.obtain(&KEY, load(true)), cache.obtain(&KEY, load(false)))
    });
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert_eq!(error.code(), "panicked");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
    assert!(cache.is_empty());
}

#[test]
fn panic_before_the_load_is_an_error() {
    let cache = LeaseCache::<&str, usize>::new(1, SharedClock::system());
    let load = || -> std::future::Ready<Result<Loaded<_, _>, Error>> { panic!("in the test") };
    let error = cache.obtain(&KEY, load).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.code(), "panicked");
    assert!(cache.is_empty());
}
