//! How leases behave, seen from outside.

#![cfg(test)]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use symbolon_types::lease::{Lease, LeaseCache, Loaded, Origin};
use symbolon_types::{Error, ErrorKind, ManualClock, SharedClock};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    hands: ManualClock,
    clock: SharedClock,
    cache: LeaseCache<String, u32>,
    loads: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        Self::holding(1000)
    }

    fn holding(capacity: usize) -> Self {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        let cache = LeaseCache::new(capacity, clock.clone());
        Self { hands, clock, cache, loads: Arc::default() }
    }

    /// A lease that is due after 30 minutes and ends after an hour.
    fn lease(&self, value: u32) -> Lease<u32> {
        let now = self.clock.now();
        Lease::new(value, now + HOUR).refreshed_at(Some(now + HOUR / 2))
    }

    fn loaded(&self, value: u32) -> impl FnOnce() -> LoadFuture + use<> {
        let lease = self.lease(value);
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok(Loaded::new(lease))
            })
        }
    }

    fn failing(&self) -> impl FnOnce() -> LoadFuture + use<> {
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Err(Error::new(ErrorKind::Network, "transport_error", "no answer"))
            })
        }
    }

    fn asking_to_wait(&self, retry_after: Duration) -> impl FnOnce() -> LoadFuture + use<> {
        let loads = Arc::clone(&self.loads);
        move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::SeqCst);
                let error = Error::new(ErrorKind::Service, "throttled", "not now");
                Err(error.with_retry_after(Some(retry_after)))
            })
        }
    }

    /// A lease that is due at once and ends after three hours.
    fn due_lease(&self, value: u32) -> Lease<u32> {
        let now = self.clock.now();
        Lease::new(value, now + HOUR * 3).refreshed_at(Some(now))
    }

    /// Asks for the value of "a", and lets the renewal come to its end if that started one.
    async fn renew_in_background(&self, load: impl FnOnce() -> LoadFuture) {
        let obtained = self.cache.obtain(&key("a"), load).await.unwrap();
        assert_eq!(obtained.origin, Origin::Cache);
        settle().await;
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

type LoadFuture = Pin<Box<dyn Future<Output = Result<Loaded<String, u32>, Error>> + Send>>;

/// The same load, once the gate is open.
fn gated<L>(gate: &Arc<Notify>, load: L) -> impl FnOnce() -> LoadFuture + use<L>
where
    L: FnOnce() -> LoadFuture + Send + 'static,
{
    let gate = Arc::clone(gate);
    move || {
        Box::pin(async move {
            gate.notified().await;
            load().await
        })
    }
}

/// Opens a gate after everybody had the time to come to it.
async fn open(gate: &Notify) {
    settle().await;
    gate.notify_waiters();
}

fn key(text: &str) -> String {
    text.to_owned()
}

/// Lets the tasks that are ready run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_snapshot_holds_what_is_live_with_its_deadlines() {
    let world = World::new();
    world.cache.insert("kept".to_owned(), world.lease(1));
    world.cache.insert("brief".to_owned(), Lease::new(2, world.clock.now() + HOUR / 2));
    assert_eq!(world.cache.snapshot().len(), 2);
    world.hands.advance(HOUR / 2);
    let [(key, lease)] = &world.cache.snapshot()[..] else { panic!("one is left") };
    assert_eq!((key.as_str(), *lease.value()), ("kept", 1));
    assert_eq!(lease.expires_at(), world.clock.now() + HOUR / 2);
    assert_eq!(lease.refresh_at(), Some(world.clock.now()));
}

#[tokio::test]
async fn before_the_soft_deadline_the_value_is_served() {
    let world = World::new();
    let first = world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    let second = world.cache.obtain(&key("a"), world.loaded(2)).await.unwrap();
    assert_eq!((first.value, first.origin), (1, Origin::Load));
    assert_eq!((second.value, second.origin), (1, Origin::Cache));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn between_the_deadlines_the_old_value_is_served_and_one_renewal_runs() {
    let world = World::new();
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    world.hands.advance(HOUR * 3 / 4);
    let gate = Arc::new(Notify::new());
    for _ in 0..10 {
        let obtained = world.cache.obtain(&key("a"), gated(&gate, world.loaded(2))).await.unwrap();
        assert_eq!((obtained.value, obtained.origin), (1, Origin::Cache));
    }
    gate.notify_one();
    settle().await;
    assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(2));
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_value_and_backs_off() {
    let world = World::new();
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    world.hands.advance(HOUR / 2);
    let mut renewals = Vec::new();
    for second in 0..1500 {
        let before = world.loads();
        assert_eq!(world.cache.obtain(&key("a"), world.failing()).await.unwrap().value, 1);
        settle().await;
        if world.loads() > before {
            renewals.push(second);
        }
        world.hands.advance(Duration::from_secs(1));
    }
    assert_eq!(
        renewals,
        [0, 30, 90, 210, 450, 750, 1050, 1350],
        "the pause starts at 30 s, doubles, and ends at 5 min"
    );
}

#[tokio::test]
async fn a_value_is_due_from_its_soft_deadline_on_and_not_while_it_is_renewed() {
    let world = World::new();
    let is_due = || world.cache.find(&key("a")).unwrap().is_due;
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    world.hands.advance(HOUR / 2 - Duration::from_secs(1));
    assert!(!is_due());
    world.hands.advance(Duration::from_secs(1));
    assert!(is_due());
    let gate = Arc::new(Notify::new());
    world.cache.obtain(&key("a"), gated(&gate, world.loaded(2))).await.unwrap();
    assert!(!is_due(), "somebody sees to it");
    open(&gate).await;
    settle().await;
    assert_eq!(world.cache.find(&key("a")).map(|found| (found.value, found.is_due)), Some((2, false)));
}

#[tokio::test]
async fn a_success_ends_the_back_off() {
    let world = World::new();
    // Two failures: the next pause would be two minutes.
    world.cache.insert(key("a"), world.due_lease(1));
    world.renew_in_background(world.failing()).await;
    world.hands.advance(Duration::from_secs(30));
    world.renew_in_background(world.failing()).await;
    assert_eq!(world.loads(), 2);
    // Somebody forces a renewal meanwhile, and the value that it brings is due at once.
    let lease = world.due_lease(2);
    world.cache.renew(&key("a"), "force", || async { Ok(Loaded::new(lease)) }).await.unwrap();
    world.renew_in_background(world.failing()).await;
    assert_eq!(world.loads(), 3, "the pause was the old value's");
    world.hands.advance(Duration::from_secs(29));
    world.renew_in_background(world.failing()).await;
    assert_eq!(world.loads(), 3);
    world.hands.advance(Duration::from_secs(1));
    world.renew_in_background(world.failing()).await;
    assert_eq!(world.loads(), 4, "it starts at 30 s again");
}

#[tokio::test]
async fn a_renewal_waits_as_long_as_the_service_asks_but_no_longer_than_an_hour() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (asked, waited) in [
        (minutes(10), minutes(10)),
        (Duration::from_secs(1), Duration::from_secs(30)),
        (minutes(61), minutes(60)),
        (Duration::from_secs(u64::MAX), minutes(60)),
    ] {
        let world = World::new();
        world.cache.insert(key("a"), world.due_lease(1));
        world.renew_in_background(world.asking_to_wait(asked)).await;
        world.hands.advance(waited - Duration::from_secs(1));
        world.renew_in_background(world.loaded(2)).await;
        assert_eq!(world.loads(), 1, "{asked:?}: not yet");
        world.hands.advance(Duration::from_secs(1));
        world.renew_in_background(world.loaded(2)).await;
        assert_eq!(world.loads(), 2, "{asked:?}: now");
        assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(2));
    }
}

#[tokio::test]
async fn a_load_that_asked_for_something_else_and_failed_does_not_delay_the_renewal() {
    let world = World::new();
    world.cache.insert(key("a"), world.due_lease(1));
    assert!(world.cache.renew(&key("a"), "claims", world.asking_to_wait(HOUR)).await.is_err());
    world.renew_in_background(world.loaded(2)).await;
    assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn a_load_that_lands_late_does_not_replace_what_a_later_one_brought() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut early = Box::pin(world.cache.obtain(&asked, gated(&gate, world.loaded(1))));
    assert!(futures_util::poll!(&mut early).is_pending());
    assert_eq!(world.cache.renew(&asked, "claims", world.loaded(2)).await.unwrap().value, 2);
    gate.notify_one();
    assert_eq!(early.await.unwrap().value, 1, "it is good enough for who asked for it");
    assert_eq!(world.cache.find(&asked).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn after_the_hard_deadline_everybody_waits_for_one_load_and_shares_its_error() {
    let world = World::new();
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    world.hands.advance(HOUR);
    assert!(world.cache.find(&key("a")).is_none());
    let asked = key("a");
    let gate = Arc::new(Notify::new());
    let callers = (0..100).map(|_| world.cache.obtain(&asked, gated(&gate, world.failing())));
    let (outcomes, ()) =
        futures_util::future::join(futures_util::future::join_all(callers), open(&gate)).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.code() == "transport_error"))
    );
    assert_eq!(world.loads(), 2, "the first value, then one failing load for all");
    assert_eq!(
        world.cache.obtain(&key("a"), world.loaded(3)).await.unwrap().value,
        3,
        "an error is not kept"
    );
}

#[tokio::test]
async fn a_thousand_cold_callers_make_one_load() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let callers = (0..1000).map(|_| world.cache.obtain(&asked, gated(&gate, world.loaded(7))));
    let (outcomes, ()) =
        futures_util::future::join(futures_util::future::join_all(callers), open(&gate)).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().value == 7));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_leader_that_gives_up_does_not_take_the_load_with_it() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut leader = Box::pin(world.cache.obtain(&asked, gated(&gate, world.loaded(7))));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(world.cache.obtain(&asked, world.loaded(8)));
    assert!(futures_util::poll!(&mut follower).is_pending());
    drop(leader);
    gate.notify_one();
    let obtained = follower.await.unwrap();
    assert_eq!((obtained.value, obtained.origin), (7, Origin::Joined));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_load_that_everybody_gave_up_leaves_nothing_behind() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let mut only = Box::pin(world.cache.obtain(&asked, gated(&gate, world.loaded(7))));
    assert!(futures_util::poll!(&mut only).is_pending());
    drop(only);
    gate.notify_one();
    settle().await;
    assert!(world.cache.find(&asked).is_none());
    assert_eq!(world.cache.obtain(&asked, world.loaded(8)).await.unwrap().value, 8);
}

#[tokio::test]
async fn a_renewal_in_the_background_outlives_the_caller_that_started_it() {
    let world = World::new();
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    world.hands.advance(HOUR * 3 / 4);
    let gate = Arc::new(Notify::new());
    let cache = world.cache.clone();
    let load = gated(&gate, world.loaded(2));
    let caller =
        tokio::spawn(async move { cache.obtain(&key("a"), load).await.map(|obtained| obtained.value) });
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    gate.notify_one();
    settle().await;
    assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[test]
fn without_a_runtime_the_caller_renews() {
    let world = World::new();
    let run =
        |load| futures_util::FutureExt::now_or_never(world.cache.obtain(&key("a"), load)).unwrap().unwrap();
    assert_eq!(run(Box::new(world.loaded(1)) as Box<dyn FnOnce() -> LoadFuture>).value, 1);
    world.hands.advance(HOUR * 3 / 4);
    let kept = run(Box::new(world.failing()));
    assert_eq!((kept.value, kept.origin), (1, Origin::Cache), "a failed renewal keeps the value");
    world.hands.advance(Duration::from_secs(60));
    assert_eq!(run(Box::new(world.loaded(2))).value, 2);
}

#[tokio::test]
async fn a_forced_renewal_ignores_the_value_and_keeps_it_when_it_fails() {
    let world = World::new();
    world.cache.obtain(&key("a"), world.loaded(1)).await.unwrap();
    assert!(world.cache.renew(&key("a"), "force", world.failing()).await.is_err());
    assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(1));
    assert_eq!(world.cache.renew(&key("a"), "force", world.loaded(2)).await.unwrap().value, 2);
    assert_eq!(world.cache.find(&key("a")).map(|found| found.value), Some(2));
}

#[tokio::test]
async fn loads_that_ask_for_different_things_are_not_shared() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    let asked = key("a");
    let plain = world.cache.obtain(&asked, gated(&gate, world.loaded(1)));
    let claims = world.cache.renew(&asked, "claims", gated(&gate, world.loaded(2)));
    let same_claims = world.cache.renew(&asked, "claims", gated(&gate, world.loaded(3)));
    let (plain, claims, same_claims, ()) =
        futures_util::future::join4(plain, claims, same_claims, open(&gate)).await;
    assert_eq!(plain.unwrap().value, 1);
    assert_eq!((claims.unwrap().value, same_claims.unwrap().value), (2, 2));
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn a_load_may_find_that_its_value_belongs_elsewhere() {
    let world = World::new();
    let lease = world.lease(5);
    let obtained = world
        .cache
        .obtain(&key("asked"), || async { Ok(Loaded::under(lease, key("actual"))) })
        .await
        .unwrap();
    assert_eq!(obtained.value, 5);
    assert!(world.cache.find(&key("asked")).is_none());
    assert_eq!(world.cache.find(&key("actual")).map(|found| found.value), Some(5));
    assert_eq!(world.cache.len(), 1);
}

#[tokio::test]
async fn only_the_unwanted_value_is_forgotten() {
    let world = World::new();
    world.cache.insert(key("a"), world.lease(1));
    assert!(!world.cache.remove_if(&key("a"), |value| *value == 2));
    assert!(world.cache.find(&key("a")).is_some());
    assert!(world.cache.remove_if(&key("a"), |value| *value == 1));
    assert!(world.cache.find(&key("a")).is_none());
    assert!(!world.cache.remove_if(&key("b"), |_| true));
}

#[tokio::test]
async fn the_number_of_entries_is_bounded_and_expired_ones_go_first() {
    let world = World::holding(160);
    for number in 0..1000_u32 {
        world.cache.insert(number.to_string(), world.lease(number));
    }
    assert_eq!(world.cache.len(), 160);
    world.hands.advance(HOUR);
    for number in 0..16_u32 {
        world.cache.insert(format!("late {number}"), world.lease(number));
    }
    assert!((0..16).all(|number| world.cache.find(&format!("late {number}")).is_some()));
}

#[tokio::test]
async fn when_full_the_entry_that_expires_next_goes() {
    let world = World::holding(3);
    for number in 0..400_u32 {
        world.cache.insert(number.to_string(), world.lease(number));
        world.hands.advance(Duration::from_secs(1));
    }
    let kept: Vec<u32> = (0..400).filter(|n| world.cache.find(&n.to_string()).is_some()).collect();
    assert_eq!(kept, [397, 398, 399]);
}

#[tokio::test]
async fn a_large_cache_is_bounded_too() {
    for capacity in [511, 512, 4096] {
        let world = World::holding(capacity);
        for number in 0..8_000_u32 {
            world.cache.insert(number.to_string(), world.lease(number));
        }
        assert_eq!(world.cache.len(), capacity);
        assert_eq!(world.cache.find(&"7999".to_owned()).map(|found| found.value), Some(7_999));
    }
}

#[tokio::test]
async fn when_full_what_lives_longest_stays_and_so_does_the_newest() {
    let world = World::holding(3);
    let now = world.clock.now();
    for number in 0..400_u32 {
        let lease = Lease::new(number, now + HOUR - Duration::from_secs(number.into()));
        world.cache.insert(number.to_string(), lease);
        assert!(world.cache.find(&number.to_string()).is_some(), "{number} has just come");
    }
    let kept: Vec<u32> = (0..400).filter(|n| world.cache.find(&n.to_string()).is_some()).collect();
    assert_eq!(kept, [0, 1, 399]);
}

#[tokio::test]
async fn an_entry_that_is_being_loaded_is_not_evicted() {
    let world = World::holding(1);
    let gate = Arc::new(Notify::new());
    let (renewed, cold) = (key("a"), key("b"));
    world.cache.insert(renewed.clone(), Lease::new(1, world.clock.now() + Duration::from_secs(60)));
    let mut renewal = Box::pin(world.cache.renew(&renewed, "force", gated(&gate, world.loaded(2))));
    let mut first = Box::pin(world.cache.obtain(&cold, gated(&gate, world.loaded(3))));
    assert!(futures_util::poll!(&mut renewal).is_pending() && futures_util::poll!(&mut first).is_pending());
    for number in 0..400_u32 {
        world.cache.insert(number.to_string(), world.lease(number));
    }
    assert_eq!(world.cache.find(&renewed).map(|found| found.value), Some(1));
    let mut second = Box::pin(world.cache.obtain(&cold, world.loaded(4)));
    assert!(futures_util::poll!(&mut second).is_pending());
    gate.notify_waiters();
    assert_eq!(renewal.await.unwrap().value, 2);
    assert_eq!((first.await.unwrap().value, second.await.unwrap().value), (3, 3), "one load for both");
}

#[tokio::test]
async fn loads_that_fail_cost_nobody_their_entry() {
    let world = World::holding(160);
    for number in 0..160_u32 {
        world.cache.insert(number.to_string(), world.lease(number));
    }
    for number in 0..1000 {
        assert!(world.cache.obtain(&format!("new {number}"), world.failing()).await.is_err());
    }
    assert!((0..160_u32).all(|number| world.cache.find(&number.to_string()).is_some()));
    assert_eq!(world.cache.len(), 160);
}

#[tokio::test]
async fn a_cleared_cache_is_empty() {
    let world = World::new();
    assert!(world.cache.is_empty());
    for number in 0..100_u32 {
        world.cache.insert(number.to_string(), world.lease(number));
    }
    assert!(!world.cache.is_empty());
    world.cache.clear();
    assert!(world.cache.is_empty() && world.cache.find(&key("7")).is_none());
    assert_eq!(world.cache.obtain(&key("7"), world.loaded(8)).await.unwrap().value, 8);
}

mod model {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Obtain { key: u8, succeeds: bool },
        Renew { key: u8, succeeds: bool },
        Forget { key: u8, value: u32 },
        Advance { minutes: u64 },
        SetBack { minutes: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, any::<bool>()).prop_map(|(key, succeeds)| Step::Obtain { key, succeeds }),
            1 => (0..4_u8, any::<bool>()).prop_map(|(key, succeeds)| Step::Renew { key, succeeds }),
            1 => (0..4_u8, 0..40_u32).prop_map(|(key, value)| Step::Forget { key, value }),
            3 => (1..50_u64).prop_map(|minutes| Step::Advance { minutes }),
            1 => (1..50_u64).prop_map(|minutes| Step::SetBack { minutes }),
        ]
    }

    proptest! {
        /// Whatever happens, a value is served exactly while it lives, an error only when there is
        /// no value, and no value is ever served that the last successful load did not bring.
        #[test]
        fn a_live_value_is_never_lost_and_a_dead_one_never_served(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let world = World::new();
                let mut model: HashMap<u8, (u32, std::time::SystemTime)> = HashMap::new();
                for (number, step) in (1_u32..).zip(steps) {
                    let now = world.clock.now();
                    let live = |model: &HashMap<u8, (u32, _)>, key| {
                        model.get(&key).copied().filter(|(_, until)| now < *until).map(|(value, _)| value)
                    };
                    match step {
                        Step::Obtain { key, succeeds } => {
                            let expected = live(&model, key);
                            let before = world.loads();
                            let load: Box<dyn FnOnce() -> LoadFuture> =
                                if succeeds { Box::new(world.loaded(number)) } else { Box::new(world.failing()) };
                            let outcome = world.cache.obtain(&key.to_string(), load).await;
                            settle().await;
                            match (expected, succeeds) {
                                (Some(value), _) => prop_assert_eq!(outcome.unwrap().value, value),
                                (None, true) => prop_assert_eq!(outcome.unwrap().value, number),
                                (None, false) => prop_assert!(outcome.is_err()),
                            }
                            if succeeds && world.loads() > before {
                                model.insert(key, (number, now + HOUR));
                            }
                        }
                        Step::Renew { key, succeeds } => {
                            let load: Box<dyn FnOnce() -> LoadFuture> =
                                if succeeds { Box::new(world.loaded(number)) } else { Box::new(world.failing()) };
                            let outcome = world.cache.renew(&key.to_string(), "force", load).await;
                            prop_assert_eq!(outcome.is_ok(), succeeds);
                            if succeeds {
                                model.insert(key, (number, now + HOUR));
                            }
                        }
                        Step::Forget { key, value } => {
                            world.cache.remove_if(&key.to_string(), |held| *held == value);
                            if model.get(&key).is_some_and(|(held, _)| *held == value) {
                                model.remove(&key);
                            }
                        }
                        Step::Advance { minutes } => world.hands.advance(Duration::from_secs(60 * minutes)),
                        // What has expired may have been evicted and does not come back.
                        Step::SetBack { minutes } if model.values().all(|(_, until)| now < *until) => {
                            world.hands.set(now - Duration::from_secs(60 * minutes));
                        }
                        Step::SetBack { .. } => {}
                    }
                    for key in 0..4 {
                        let now = world.clock.now();
                        let expected = model.get(&key).copied().filter(|(_, until)| now < *until);
                        let found = world.cache.find(&key.to_string()).map(|found| found.value);
                        prop_assert_eq!(found, expected.map(|(value, _)| value));
                    }
                }
                Ok(())
            })?;
        }
    }
}
