//! Clocks.

mod clock_reading;
mod jump_detector;
mod manual;
mod steady_time;
mod system;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use clock_reading::ClockReading;
pub use manual::ManualClock;
pub use steady_time::SteadyTime;
pub use system::SystemClock;

/// A clock that reads the time and waits.
///
/// It has two readings: the wall time, which people and programs set, for dates; and a steady time,
/// for the ends of lifetimes and pauses. Use [`SystemClock`], or [`ManualClock`] in tests;
/// implement it for a runtime other than Tokio.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall time.
    fn now(&self) -> SystemTime;

    /// Returns the time on a clock that never goes back and counts while the machine is suspended.
    ///
    /// It may follow the wall clock forward, which makes deadlines earlier. Every cache hit reads
    /// it. The default is the wall time, for clocks that are never set back; other clocks call the
    /// method of [`SystemClock`].
    fn steady_now(&self) -> SteadyTime {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH);
        SteadyTime::after_start(since.unwrap_or_default())
    }

    /// Returns the time on the clock of [`sleep`](Self::sleep), for the limits of running work.
    ///
    /// Unlike the steady time it does not follow the wall clock, so that setting that clock ends no
    /// work. The default is the steady time.
    fn timer_now(&self) -> SteadyTime {
        self.steady_now()
    }

    /// Waits for `duration`. Dropping the future cancels the wait.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// A handle to any [`Clock`]. Clones are cheap and share the clock.
#[derive(Clone, Debug)]
pub struct SharedClock(Arc<dyn ErasedClock>);

impl SharedClock {
    /// Creates a handle.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    /// Returns the wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.now()
    }

    /// Returns the time on the clock that nobody sets, for lifetimes and pauses.
    #[must_use]
    pub fn steady_now(&self) -> SteadyTime {
        self.0.steady_now()
    }

    /// Returns the time for the time limits of running work.
    #[must_use]
    pub fn timer_now(&self) -> SteadyTime {
        self.0.timer_now()
    }

    /// Returns both times.
    #[must_use]
    pub fn read(&self) -> ClockReading {
        ClockReading { steady: self.steady_now(), wall: self.now() }
    }

    /// Waits for `duration`. Dropping the future cancels the wait.
    pub async fn sleep(&self, duration: Duration) {
        // A task that has used up the budget of its poll must still see that the time is over.
        tokio::task::unconstrained(self.0.sleep(duration)).await;
    }
}

/// The object-safe form of [`Clock`].
trait ErasedClock: fmt::Debug + Send + Sync {
    fn now(&self) -> SystemTime;
    fn steady_now(&self) -> SteadyTime;
    fn timer_now(&self) -> SteadyTime;
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<C: Clock> ErasedClock for C {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }

    fn steady_now(&self) -> SteadyTime {
        Clock::steady_now(self)
    }

    fn timer_now(&self) -> SteadyTime {
        Clock::timer_now(self)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Clock::sleep(self, duration))
    }
}
