//! A clock for tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use super::{Clock, SharedClock, SteadyTime};

/// The steady time of a new clock, late enough to have a past.
const START: Duration = Duration::from_secs(1_000_000);

/// A clock that stands still until a test moves it. Sleepers wake when their time is reached.
///
/// Its steady time follows the wall time forward and never goes back, like that of the
/// [`SystemClock`](super::SystemClock). Sleepers wait for the steady time.
///
/// ```
/// # use std::time::Duration;
/// # use symbolon_types::{ManualClock, SharedClock};
/// let manual_clock = ManualClock::new();
/// let clock = SharedClock::from(&manual_clock);
/// let start = clock.now();
/// manual_clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), start + Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ManualClock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    now: SystemTime,
    steady: SteadyTime,
    sleepers: Vec<Sleeper>,
    next_id: u64,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    until: SteadyTime,
    waker: Waker,
}

impl ManualClock {
    /// Creates a clock that stands still at the current system time.
    pub fn new() -> Self {
        Self::at(super::SystemClock::new().now())
    }

    /// Creates a clock that stands still at `now`.
    pub fn at(now: SystemTime) -> Self {
        let steady = SteadyTime::after_start(START);
        Self(Arc::new(Mutex::new(ClockState { now, steady, sleepers: Vec::new(), next_id: 0 })))
    }

    /// Moves the clock forward and wakes the sleepers whose time is reached.
    pub fn advance(&self, by: Duration) {
        let now = self.state().now;
        self.set(now.checked_add(by).unwrap_or(now));
    }

    /// Sets the wall time, forward or back. Forward, the steady time moves as far, and the sleepers
    /// wake whose time is reached.
    pub fn set(&self, now: SystemTime) {
        let mut state = self.state();
        let forward = now.duration_since(state.now).unwrap_or_default();
        state.now = now;
        state.steady = state.steady.plus(forward);
        let steady = state.steady;
        let due = state.sleepers.extract_if(.., |sleeper| sleeper.until <= steady).collect::<Vec<_>>();
        drop(state);
        for sleeper in due {
            sleeper.waker.wake();
        }
    }

    /// Moves the clock to the time when the next sleeper wakes, and returns the distance; `None` if
    /// there is no sleeper. With it, a test asserts a delay without waiting for it.
    pub fn advance_to_next(&self) -> Option<Duration> {
        let left = {
            let state = self.state();
            state.sleepers.iter().map(|sleeper| sleeper.until).min()?.since(state.steady)
        };
        self.advance(left);
        Some(left)
    }

    /// Returns the number of sleepers.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
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
        self.state().now
    }

    fn steady_now(&self) -> SteadyTime {
        self.state().steady
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let mut state = self.state();
        state.next_id += 1;
        Sleep {
            clock: self.clone(),
            id: state.next_id,
            // A sleep beyond the end of time never ends.
            until: match state.now.checked_add(duration) {
                Some(_) => state.steady.plus(duration),
                None => SteadyTime::NEVER,
            },
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
    until: SteadyTime,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.until == SteadyTime::NEVER {
            return Poll::Pending;
        }
        let mut state = self.clock.state();
        state.sleepers.retain(|sleeper| sleeper.id != self.id);
        if self.until <= state.steady {
            return Poll::Ready(());
        }
        state.sleepers.push(Sleeper { id: self.id, until: self.until, waker: context.waker().clone() });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.state().sleepers.retain(|sleeper| sleeper.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn sleeper_wakes_at_its_time() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(10)));
        assert!((&mut sleep).now_or_never().is_none());
        manual_clock.advance(Duration::from_secs(9));
        assert!((&mut sleep).now_or_never().is_none());
        manual_clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_some());
    }

    #[test]
    fn next_delay_is_readable_without_waiting() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let mut long = Box::pin(clock.sleep(Duration::from_secs(30)));
        let mut short = Box::pin(clock.sleep(Duration::from_secs(2)));
        assert!((&mut long).now_or_never().is_none() && (&mut short).now_or_never().is_none());
        assert_eq!(manual_clock.advance_to_next(), Some(Duration::from_secs(2)));
        drop(long);
        assert_eq!(manual_clock.advance_to_next(), None);
    }

    #[test]
    fn steady_time_never_goes_back() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let (hour, start) = (Duration::from_secs(3600), clock.read());
        manual_clock.set(start.wall - 24 * hour);
        assert_eq!((clock.steady_now(), clock.now()), (start.steady, start.wall - 24 * hour));
        manual_clock.advance(hour);
        assert_eq!(clock.steady_now(), start.steady.plus(hour));
        manual_clock.set(start.wall);
        assert_eq!(clock.steady_now(), start.steady.plus(24 * hour));
    }

    #[test]
    fn setting_the_clock_back_wakes_no_sleeper() {
        let manual_clock = ManualClock::new();
        let start = Clock::now(&manual_clock);
        let clock = SharedClock::from(&manual_clock);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(1)));
        assert!((&mut sleep).now_or_never().is_none());
        manual_clock.set(start - Duration::from_secs(3600));
        assert!((&mut sleep).now_or_never().is_none());
        assert_eq!(manual_clock.sleepers(), 1);
    }
}
