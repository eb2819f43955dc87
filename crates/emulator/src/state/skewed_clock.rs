//! A clock with an adjustable error.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use symbolon_types::{Clock, SharedClock, SteadyTime};

use crate::calendar::{after, before};

/// A clock that differs from another one by a number of whole seconds. Sleeping takes as long as on
/// the other clock.
#[derive(Clone, Debug)]
pub(crate) struct SkewedClock {
    inner: SharedClock,
    seconds: Arc<AtomicI64>,
}

impl SkewedClock {
    pub(crate) fn new(inner: SharedClock, seconds: i64) -> Self {
        Self { inner, seconds: Arc::new(AtomicI64::new(seconds)) }
    }

    /// Returns the clock that it differs from.
    pub(crate) fn without_skew(&self) -> &SharedClock {
        &self.inner
    }

    /// Returns the seconds by which it is ahead; negative if it is behind.
    pub(crate) fn seconds(&self) -> i64 {
        self.seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> SystemTime {
        let seconds = self.seconds();
        let skew = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { before(self.inner.now(), skew) } else { after(self.inner.now(), skew) }
    }

    fn steady_now(&self) -> SteadyTime {
        self.inner.steady_now()
    }

    fn timer_now(&self) -> SteadyTime {
        self.inner.timer_now()
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration).await;
    }
}
