//! The public behaviour of the cache.

#![cfg(test)]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache, Loaded, Origin};
use symbolon_types::{Error, ErrorKind, ManualClock, SharedClock, SteadyTime};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_secs(3600);

struct TestEnv {
    manual_clock: ManualClock,
    clock: SharedClock,
    cache: LeaseCache<String, u32>,
    loads: Arc<AtomicUsize>,
}

impl TestEnv {
    fn new() -> Self {
        Self::holding(1000)
    }

    fn holding(capacity: usize) -> Self {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let cache = LeaseCache::new(capacity, clock.clone());
        Self { manual_clock, clock, cache, loads: Arc::default() }
    }

    /// Returns a lease that is due after 30 minutes and expires after an hour.
    fn lease(&self, value: u32) -> Lease<u32> {
        let now = self.clock.steady_now();
        Lease::new(value, now.plus(HOUR)).with_refresh_at(now.plus(HOUR / 2))
    }

    fn loaded(&self, value: u32) -> impl FnOnce() -> TestLoad + use<> {
        let lease = self.lease(value);
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok(Loaded::new(lease))
            })
        }
    }

    fn failing(&self) -> impl FnOnce() -> TestLoad + use<> {
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Err(Error::new(ErrorKind::Network, "transport_error", "no answer"))
            })
        }
    }

    fn asking_to_wait(&self, retry_after: Duration) -> impl FnOnce() -> TestLoad + use<> {
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                let error = Error::new(ErrorKind::Service, "throttled", "not now");
                Err(error.with_retry_after(Some(retry_after)))
            })
        }
    }

    /// Returns a lease that is due at once and expires after three hours.
    fn due_lease(&self, value: u32) -> Lease<u32> {
        let now = self.clock.steady_now();
        Lease::new(value, now.plus(HOUR * 3)).with_refresh_at(now)
    }

    /// Obtains the value of "a", and waits for the renewal that this may start.
    async fn renew_in_background(&self, load: impl FnOnce() -> TestLoad) {
        let obtained = self.cache.obtain(&key("a"), load).await.unwrap();
        assert_eq!(obtained.origin, Origin::Cache);
        settle().await;
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

type TestLoad = Pin<Box<dyn Future<Output = Result<Loaded<String, u32>, Error>> + Send>>;

/// Returns a load that waits for the gate first.
fn gated<L>(gate: &Arc<Notify>, load: L) -> impl FnOnce() -> TestLoad + use<L>
where
    L: FnOnce() -> TestLoad + Send + 'static,
{
    let gate = Arc::clone(gate);
    move || {
        Box::pin(async move {
            gate.notified().await;
            load().await
        })
    }
}

/// Opens a gate once every caller waits at it.
async fn open(gate: &Notify) {
    settle().await;
    gate.notify_waiters();
}

fn key(text: &str) -> String {
    text.to_owned()
}

/// Runs the tasks that are ready.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn deadlines_ignore_the_clock_set_back() {
    let env = TestEnv::new();
    let (wall, day) = (env.clock.now(), 24 * HOUR);
    // The value comes while the clock is a day ahead, which is corrected afterwards.
    env.manual_clock.set(wall + day);
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.set(wall);
    env.manual_clock.advance(HOUR / 2);
    env.renew_in_background(env.asking_to_wait(Duration::from_secs(90))).await;
    // So is a failed renewal.
    env.manual_clock.set(wall - day);
    env.manual_clock.advance(Duration::from_secs(89));
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 2);
    env.manual_clock.advance(Duration::from_secs(1));
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 3);
    env.manual_clock.advance(HOUR / 2 - Duration::from_secs(91));
    assert!(env.cache.find(&key("a")).is_some());
    env.manual_clock.advance(Duration::from_secs(1));
    assert!(env.cache.find(&key("a")).is_none(), "an hour has passed");
}

#[tokio::test]
async fn snapshot_holds_live_leases() {
    let env = TestEnv::new();
    env.cache.insert("kept".to_owned(), env.lease(1));
    env.cache.insert("brief".to_owned(), Lease::new(2, env.clock.steady_now().plus(HOUR / 2)));
    assert_eq!(env.cache.snapshot().len(), 2);
    env.manual_clock.advance(HOUR / 2);
    let [(key, lease)] = &env.cache.snapshot()[..] else { panic!("one is left") };
    assert_eq!((key.as_str(), *lease.value()), ("kept", 1));
    assert_eq!(lease.expires_at(), env.clock.steady_now().plus(HOUR / 2));
    assert_eq!(lease.refresh_at(), env.clock.steady_now());
}

#[tokio::test]
async fn value_before_soft_deadline_is_served() {
    let env = TestEnv::new();
    let first = env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    let second = env.cache.obtain(&key("a"), env.loaded(2)).await.unwrap();
    assert_eq!((first.value, first.origin), (1, Origin::Load));
    assert_eq!((second.value, second.origin), (1, Origin::Cache));
    assert_eq!(env.loads(), 1);
}

#[tokio::test]
async fn due_value_is_served_while_one_renewal_runs() {
    let env = TestEnv::new();
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.advance(HOUR * 3 / 4);
    let gate = Arc::new(Notify::new());
    for _ in 0..10 {
        let obtained = env.cache.obtain(&key("a"), gated(&gate, env.loaded(2))).await.unwrap();
        assert_eq!((obtained.value, obtained.origin), (1, Origin::Cache));
    }
    gate.notify_one();
    settle().await;
    assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(2));
    assert_eq!(env.loads(), 2);
}

#[tokio::test]
async fn failed_renewal_keeps_value_and_backs_off() {
    let env = TestEnv::new();
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.advance(HOUR / 2);
    let mut renewals = Vec::new();
    for second in 0..1500 {
        let before = env.loads();
        assert_eq!(env.cache.obtain(&key("a"), env.failing()).await.unwrap().value, 1);
        settle().await;
        if env.loads() > before {
            renewals.push(second);
        }
        env.manual_clock.advance(Duration::from_secs(1));
    }
    assert_eq!(
        renewals,
        [0, 30, 90, 210, 450, 750, 1050, 1350],
        "the pause starts at 30 s, doubles, and ends at 5 min"
    );
}

#[tokio::test]
async fn value_is_due_unless_renewal_runs() {
    let env = TestEnv::new();
    let is_due = || env.cache.find(&key("a")).unwrap().is_due;
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.advance(HOUR / 2 - Duration::from_secs(1));
    assert!(!is_due());
    env.manual_clock.advance(Duration::from_secs(1));
    assert!(is_due());
    let gate = Arc::new(Notify::new());
    env.cache.obtain(&key("a"), gated(&gate, env.loaded(2))).await.unwrap();
    assert!(!is_due(), "a renewal is running");
    open(&gate).await;
    settle().await;
    assert_eq!(env.cache.find(&key("a")).map(|found| (found.value, found.is_due)), Some((2, false)));
}

#[tokio::test]
async fn success_resets_back_off() {
    let env = TestEnv::new();
    // After two failures, the next pause is two minutes.
    env.cache.insert(key("a"), env.due_lease(1));
    env.renew_in_background(env.failing()).await;
    env.manual_clock.advance(Duration::from_secs(30));
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 2);
    // A bypass load meanwhile stores a value that is due at once.
    let lease = env.due_lease(2);
    env.cache.renew(&key("a"), "force", || async { Ok(Loaded::new(lease)) }).await.unwrap();
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 3, "the pause belonged to the old value");
    env.manual_clock.advance(Duration::from_secs(29));
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 3);
    env.manual_clock.advance(Duration::from_secs(1));
    env.renew_in_background(env.failing()).await;
    assert_eq!(env.loads(), 4, "the pause starts at 30 s again");
}

#[tokio::test]
async fn retry_after_delays_renewal_up_to_an_hour() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (asked, waited) in [
        (minutes(10), minutes(10)),
        (Duration::from_secs(1), Duration::from_secs(30)),
        (minutes(61), minutes(60)),
        (Duration::from_secs(u64::MAX), minutes(60)),
    ] {
        let env = TestEnv::new();
        env.cache.insert(key("a"), env.due_lease(1));
        env.renew_in_background(env.asking_to_wait(asked)).await;
        env.manual_clock.advance(waited - Duration::from_secs(1));
        env.renew_in_background(env.loaded(2)).await;
        assert_eq!(env.loads(), 1, "{asked:?}: not yet");
        env.manual_clock.advance(Duration::from_secs(1));
        env.renew_in_background(env.loaded(2)).await;
        assert_eq!(env.loads(), 2, "{asked:?}: now");
        assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(2));
    }
}

#[tokio::test]
async fn failed_bypass_load_does_not_delay_renewal() {
    let env = TestEnv::new();
    env.cache.insert(key("a"), env.due_lease(1));
    assert!(env.cache.renew(&key("a"), "claims", env.asking_to_wait(HOUR)).await.is_err());
    env.renew_in_background(env.loaded(2)).await;
    assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn late_load_does_not_replace_newer_value() {
    let env = TestEnv::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut early = Box::pin(env.cache.obtain(&asked, gated(&gate, env.loaded(1))));
    assert!(futures_util::poll!(&mut early).is_pending());
    assert_eq!(env.cache.renew(&asked, "claims", env.loaded(2)).await.unwrap().value, 2);
    gate.notify_one();
    assert_eq!(early.await.unwrap().value, 1, "its own caller still gets it");
    assert_eq!(env.cache.find(&asked).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn expired_value_is_loaded_once_for_all() {
    let env = TestEnv::new();
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.advance(HOUR);
    assert!(env.cache.find(&key("a")).is_none());
    let asked = key("a");
    let gate = Arc::new(Notify::new());
    let callers = (0..100).map(|_| env.cache.obtain(&asked, gated(&gate, env.failing())));
    let (outcomes, ()) =
        futures_util::future::join(futures_util::future::join_all(callers), open(&gate)).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.code() == "transport_error"))
    );
    assert_eq!(env.loads(), 2, "the first value, then one failing load for all");
    assert_eq!(env.cache.obtain(&key("a"), env.loaded(3)).await.unwrap().value, 3, "errors are not cached");
}

#[tokio::test]
async fn thousand_cold_callers_share_one_load() {
    let env = TestEnv::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let callers = (0..1000).map(|_| env.cache.obtain(&asked, gated(&gate, env.loaded(7))));
    let (outcomes, ()) =
        futures_util::future::join(futures_util::future::join_all(callers), open(&gate)).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().value == 7));
    assert_eq!(env.loads(), 1);
}

#[tokio::test]
async fn load_survives_its_cancelled_starter() {
    let env = TestEnv::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut leader = Box::pin(env.cache.obtain(&asked, gated(&gate, env.loaded(7))));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(env.cache.obtain(&asked, env.loaded(8)));
    assert!(futures_util::poll!(&mut follower).is_pending());
    drop(leader);
    gate.notify_one();
    let obtained = follower.await.unwrap();
    assert_eq!((obtained.value, obtained.origin), (7, Origin::Joined));
    assert_eq!(env.loads(), 1);
}

#[tokio::test]
async fn abandoned_load_leaves_no_entry() {
    let env = TestEnv::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut only = Box::pin(env.cache.obtain(&asked, gated(&gate, env.loaded(7))));
    assert!(futures_util::poll!(&mut only).is_pending());
    drop(only);
    gate.notify_one();
    settle().await;
    assert!(env.cache.find(&asked).is_none());
    assert_eq!(env.cache.obtain(&asked, env.loaded(8)).await.unwrap().value, 8);
}

#[tokio::test]
async fn background_renewal_outlives_its_caller() {
    let env = TestEnv::new();
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    env.manual_clock.advance(HOUR * 3 / 4);
    let gate = Arc::new(Notify::new());
    let cache = env.cache.clone();
    let load = gated(&gate, env.loaded(2));
    let caller =
        tokio::spawn(async move { cache.obtain(&key("a"), load).await.map(|obtained| obtained.value) });
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    gate.notify_one();
    settle().await;
    assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[test]
fn caller_renews_without_a_runtime() {
    let env = TestEnv::new();
    let run =
        |load| futures_util::FutureExt::now_or_never(env.cache.obtain(&key("a"), load)).unwrap().unwrap();
    assert_eq!(run(Box::new(env.loaded(1)) as Box<dyn FnOnce() -> TestLoad>).value, 1);
    env.manual_clock.advance(HOUR * 3 / 4);
    let kept = run(Box::new(env.failing()));
    assert_eq!((kept.value, kept.origin), (1, Origin::Cache), "a failed renewal keeps the value");
    env.manual_clock.advance(Duration::from_secs(60));
    assert_eq!(run(Box::new(env.loaded(2))).value, 2);
}

#[tokio::test]
async fn failed_bypass_load_keeps_value() {
    let env = TestEnv::new();
    env.cache.obtain(&key("a"), env.loaded(1)).await.unwrap();
    assert!(env.cache.renew(&key("a"), "force", env.failing()).await.is_err());
    assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(1));
    assert_eq!(env.cache.renew(&key("a"), "force", env.loaded(2)).await.unwrap().value, 2);
    assert_eq!(env.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn loads_with_other_bypass_keys_are_not_shared() {
    let env = TestEnv::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let plain = env.cache.obtain(&asked, gated(&gate, env.loaded(1)));
    let claims = env.cache.renew(&asked, "claims", gated(&gate, env.loaded(2)));
    let same_claims = env.cache.renew(&asked, "claims", gated(&gate, env.loaded(3)));
    let (plain, claims, same_claims, ()) =
        futures_util::future::join4(plain, claims, same_claims, open(&gate)).await;
    assert_eq!(plain.unwrap().value, 1);
    assert_eq!((claims.unwrap().value, same_claims.unwrap().value), (2, 2));
    assert_eq!(env.loads(), 2);
}

#[tokio::test]
async fn load_may_store_under_another_key() {
    let env = TestEnv::new();
    let lease = env.lease(5);
    let obtained = env
        .cache
        .obtain(&key("asked"), || async { Ok(Loaded::with_key(lease, key("actual"))) })
        .await
        .unwrap();
    assert_eq!(obtained.value, 5);
    assert!(env.cache.find(&key("asked")).is_none());
    assert_eq!(env.cache.find(&key("actual")).map(|found| found.value), Some(5));
    assert_eq!(env.cache.len(), 1);
}

#[tokio::test]
async fn remove_if_removes_matching_value_only() {
    let env = TestEnv::new();
    env.cache.insert(key("a"), env.lease(1));
    assert!(!env.cache.remove_if(&key("a"), |value| *value == 2));
    assert!(env.cache.find(&key("a")).is_some());
    assert!(env.cache.remove_if(&key("a"), |value| *value == 1));
    assert!(env.cache.find(&key("a")).is_none());
    assert!(!env.cache.remove_if(&key("b"), |_| true));
}

#[tokio::test]
async fn expired_entries_are_evicted_first() {
    let env = TestEnv::holding(160);
    for number in 0..1000_u32 {
        env.cache.insert(number.to_string(), env.lease(number));
    }
    assert_eq!(env.cache.len(), 160);
    env.manual_clock.advance(HOUR);
    for number in 0..16_u32 {
        env.cache.insert(format!("late {number}"), env.lease(number));
    }
    assert!((0..16).all(|number| env.cache.find(&format!("late {number}")).is_some()));
}

#[tokio::test]
async fn entry_that_expires_next_is_evicted() {
    let env = TestEnv::holding(3);
    for number in 0..400_u32 {
        env.cache.insert(number.to_string(), env.lease(number));
        env.manual_clock.advance(Duration::from_secs(1));
    }
    let kept: Vec<u32> = (0..400).filter(|n| env.cache.find(&n.to_string()).is_some()).collect();
    assert_eq!(kept, [397, 398, 399]);
}

#[tokio::test]
async fn sharded_cache_is_bounded() {
    for capacity in [511, 512, 4096] {
        let env = TestEnv::holding(capacity);
        for number in 0..8_000_u32 {
            env.cache.insert(number.to_string(), env.lease(number));
        }
        assert_eq!(env.cache.len(), capacity);
        assert_eq!(env.cache.find(&"7999".to_owned()).map(|found| found.value), Some(7_999));
    }
}

#[tokio::test]
async fn newest_and_longest_lived_entries_stay() {
    let env = TestEnv::holding(3);
    let now = env.clock.steady_now();
    for number in 0..400_u32 {
        let lease = Lease::new(number, now.plus(HOUR - Duration::from_secs(number.into())));
        env.cache.insert(number.to_string(), lease);
        assert!(env.cache.find(&number.to_string()).is_some(), "{number} is the newest");
    }
    let kept: Vec<u32> = (0..400).filter(|n| env.cache.find(&n.to_string()).is_some()).collect();
    assert_eq!(kept, [0, 1, 399]);
}

#[tokio::test]
async fn loading_entry_is_not_evicted() {
    let env = TestEnv::holding(1);
    let gate = Arc::new(Notify::new());
    let (renewed, cold) = (key("a"), key("b"));
    env.cache.insert(renewed.clone(), Lease::new(1, env.clock.steady_now().plus(Duration::from_secs(60))));
    let mut renewal = Box::pin(env.cache.renew(&renewed, "force", gated(&gate, env.loaded(2))));
    let mut first = Box::pin(env.cache.obtain(&cold, gated(&gate, env.loaded(3))));
    assert!(futures_util::poll!(&mut renewal).is_pending() && futures_util::poll!(&mut first).is_pending());
    for number in 0..400_u32 {
        env.cache.insert(number.to_string(), env.lease(number));
    }
    assert_eq!(env.cache.find(&renewed).map(|found| found.value), Some(1));
    let mut second = Box::pin(env.cache.obtain(&cold, env.loaded(4)));
    assert!(futures_util::poll!(&mut second).is_pending());
    gate.notify_waiters();
    assert_eq!(renewal.await.unwrap().value, 2);
    assert_eq!((first.await.unwrap().value, second.await.unwrap().value), (3, 3), "one load for both");
}

#[tokio::test]
async fn failed_loads_evict_nothing() {
    let env = TestEnv::holding(160);
    for number in 0..160_u32 {
        env.cache.insert(number.to_string(), env.lease(number));
    }
    for number in 0..1000 {
        assert!(env.cache.obtain(&format!("new {number}"), env.failing()).await.is_err());
    }
    assert!((0..160_u32).all(|number| env.cache.find(&number.to_string()).is_some()));
    assert_eq!(env.cache.len(), 160);
}

#[tokio::test]
async fn cleared_cache_is_empty() {
    let env = TestEnv::new();
    assert!(env.cache.is_empty());
    for number in 0..100_u32 {
        env.cache.insert(number.to_string(), env.lease(number));
    }
    assert!(!env.cache.is_empty());
    env.cache.clear();
    assert!(env.cache.is_empty() && env.cache.find(&key("7")).is_none());
    assert_eq!(env.cache.obtain(&key("7"), env.loaded(8)).await.unwrap().value, 8);
}

mod model {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum ModelStep {
        Obtain { key: u8, succeeds: bool },
        Renew { key: u8, succeeds: bool },
        Forget { key: u8, value: u32 },
        Advance { minutes: u64 },
        SetBack { minutes: u64 },
    }

    fn step() -> impl Strategy<Value = ModelStep> {
        prop_oneof![
            4 => (0..4_u8, any::<bool>()).prop_map(|(key, succeeds)| ModelStep::Obtain { key, succeeds }),
            1 => (0..4_u8, any::<bool>()).prop_map(|(key, succeeds)| ModelStep::Renew { key, succeeds }),
            1 => (0..4_u8, 0..40_u32).prop_map(|(key, value)| ModelStep::Forget { key, value }),
            3 => (1..50_u64).prop_map(|minutes| ModelStep::Advance { minutes }),
            1 => (1..50_u64).prop_map(|minutes| ModelStep::SetBack { minutes }),
        ]
    }

    proptest! {
        /// After any sequence of steps, the cache returns the value of the last successful load
        /// until it expires, and an error only when there is no value.
        #[test]
        fn cache_matches_model(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let env = TestEnv::new();
                let mut model: HashMap<u8, (u32, SteadyTime)> = HashMap::new();
                for (number, step) in (1_u32..).zip(steps) {
                    let now = env.clock.steady_now();
                    let live = |model: &HashMap<u8, (u32, _)>, key| {
                        model.get(&key).copied().filter(|(_, until)| now < *until).map(|(value, _)| value)
                    };
                    match step {
                        ModelStep::Obtain { key, succeeds } => {
                            let expected = live(&model, key);
                            let before = env.loads();
                            let load: Box<dyn FnOnce() -> TestLoad> =
                                if succeeds { Box::new(env.loaded(number)) } else { Box::new(env.failing()) };
                            let outcome = env.cache.obtain(&key.to_string(), load).await;
                            settle().await;
                            match (expected, succeeds) {
                                (Some(value), _) => prop_assert_eq!(outcome.unwrap().value, value),
                                (None, true) => prop_assert_eq!(outcome.unwrap().value, number),
                                (None, false) => prop_assert!(outcome.is_err()),
                            }
                            if succeeds && env.loads() > before {
                                model.insert(key, (number, now.plus(HOUR)));
                            }
                        }
                        ModelStep::Renew { key, succeeds } => {
                            let load: Box<dyn FnOnce() -> TestLoad> =
                                if succeeds { Box::new(env.loaded(number)) } else { Box::new(env.failing()) };
                            let outcome = env.cache.renew(&key.to_string(), "force", load).await;
                            prop_assert_eq!(outcome.is_ok(), succeeds);
                            if succeeds {
                                model.insert(key, (number, now.plus(HOUR)));
                            }
                        }
                        ModelStep::Forget { key, value } => {
                            env.cache.remove_if(&key.to_string(), |held| *held == value);
                            if model.get(&key).is_some_and(|(held, _)| *held == value) {
                                model.remove(&key);
                            }
                        }
                        ModelStep::Advance { minutes } => env.manual_clock.advance(Duration::from_secs(60 * minutes)),
                        // No deadline is later for it.
                        ModelStep::SetBack { minutes } => {
                            env.manual_clock.set(env.clock.now() - Duration::from_secs(60 * minutes));
                        }
                    }
                    for key in 0..4 {
                        let now = env.clock.steady_now();
                        let expected = model.get(&key).copied().filter(|(_, until)| now < *until);
                        let found = env.cache.find(&key.to_string()).map(|found| found.value);
                        prop_assert_eq!(found, expected.map(|(value, _)| value));
                    }
                }
                Ok(())
            })?;
        }
    }
}
