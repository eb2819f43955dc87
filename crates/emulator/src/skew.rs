//! A clock that is wrong by as much as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use symbolon_types::{Clock, SharedClock};

use crate::calendar::{after, before};

/// A clock that is ahead of another one, or behind it, by whole seconds. Waiting takes as long as there.
#[derive(Clone, Debug)]
pub(crate) struct SkewedClock {
    right: SharedClock,
    seconds: Arc<AtomicI64>,
}

impl SkewedClock {
    pub(crate) fn new(right: SharedClock, seconds: i64) -> Self {
        Self { right, seconds: Arc::new(AtomicI64::new(seconds)) }
    }

    /// Seconds by which it is ahead; negative when it is behind.
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
        let by = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { before(self.right.now(), by) } else { after(self.right.now(), by) }
    }

    async fn sleep(&self, duration: Duration) {
        self.right.sleep(duration).await;
    }
}
