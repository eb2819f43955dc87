//! A clock that a test turns by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use super::{Clock, SharedClock};

/// A clock that stands still until a test moves it; sleepers wake when their time has come.
///
/// ```
/// # use std::time::Duration;
/// # use symbolon_types::{ManualClock, SharedClock};
/// let hands = ManualClock::new();
/// let clock = SharedClock::from(&hands);
/// let start = clock.now();
/// hands.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), start + Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Dial>>);

#[derive(Debug)]
struct Dial {
    now: SystemTime,
    sleepers: Vec<Sleeper>,
    next_id: u64,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    until: SystemTime,
    waker: Waker,
}

impl ManualClock {
    /// A clock that shows the machine's time at this moment and then stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::at(super::SystemClock::new().now())
    }

    /// A clock that shows the given time and stands still.
    #[must_use]
    pub fn at(now: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(Dial { now, sleepers: Vec::new(), next_id: 0 })))
    }

    /// Moves the clock forward and wakes whoever has slept long enough.
    pub fn advance(&self, by: Duration) {
        let now = self.dial().now;
        self.set(now.checked_add(by).unwrap_or(now));
    }

    /// Sets the clock, forward or back, and wakes whoever has slept long enough.
    pub fn set(&self, now: SystemTime) {
        let mut dial = self.dial();
        dial.now = now;
        let due = dial.sleepers.extract_if(.., |sleeper| sleeper.until <= now).collect::<Vec<_>>();
        drop(dial);
        for sleeper in due {
            sleeper.waker.wake();
        }
    }

    /// Moves the clock to the moment when the next sleeper wakes, and tells how far that was;
    /// `None` when nobody sleeps.
    ///
    /// This is how a test asserts a delay without waiting for it.
    pub fn advance_to_next(&self) -> Option<Duration> {
        let (now, until) = {
            let dial = self.dial();
            (dial.now, dial.sleepers.iter().map(|sleeper| sleeper.until).min()?)
        };
        self.set(until);
        Some(until.duration_since(now).unwrap_or_default())
    }

    /// How many sleep at the moment.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.dial().sleepers.len()
    }

    fn dial(&self) -> MutexGuard<'_, Dial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.dial().now
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let mut dial = self.dial();
        dial.next_id += 1;
        Sleep {
            clock: self.clone(),
            id: dial.next_id,
            // A sleep beyond the end of time never ends.
            until: dial.now.checked_add(duration),
        }
    }
}

impl From<&ManualClock> for SharedClock {
    fn from(clock: &ManualClock) -> Self {
        Self::new(clock.clone())
    }
}

struct Sleep {
    clock: ManualClock,
    id: u64,
    until: Option<SystemTime>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let mut dial = self.clock.dial();
        dial.sleepers.retain(|sleeper| sleeper.id != self.id);
        if until <= dial.now {
            return Poll::Ready(());
        }
        dial.sleepers.push(Sleeper { id: self.id, until, waker: context.waker().clone() });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.dial().sleepers.retain(|sleeper| sleeper.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(10)));
        assert!((&mut sleep).now_or_never().is_none());
        hands.advance(Duration::from_secs(9));
        assert!((&mut sleep).now_or_never().is_none());
        hands.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_some());
    }

    #[test]
    fn the_next_delay_can_be_read_without_waiting_for_it() {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        let mut long = Box::pin(clock.sleep(Duration::from_secs(30)));
        let mut short = Box::pin(clock.sleep(Duration::from_secs(2)));
        assert!((&mut long).now_or_never().is_none() && (&mut short).now_or_never().is_none());
        assert_eq!(hands.advance_to_next(), Some(Duration::from_secs(2)));
        drop(long);
        assert_eq!(hands.advance_to_next(), None);
    }

    #[test]
    fn setting_the_clock_back_wakes_nobody() {
        let hands = ManualClock::new();
        let start = Clock::now(&hands);
        let clock = SharedClock::from(&hands);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(1)));
        assert!((&mut sleep).now_or_never().is_none());
        hands.set(start - Duration::from_secs(3600));
        assert!((&mut sleep).now_or_never().is_none());
        assert_eq!(hands.sleepers(), 1);
    }
}
