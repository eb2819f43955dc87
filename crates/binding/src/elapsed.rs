//! How long something took, for logs.

use std::time::SystemTime;

use symbolon_types::SharedClock;

/// Time on the injected clock since this was made.
pub(crate) struct Elapsed<'c> {
    clock: &'c SharedClock,
    since: SystemTime,
}

impl<'c> Elapsed<'c> {
    pub(crate) fn on(clock: &'c SharedClock) -> Self {
        Self { clock, since: clock.now() }
    }

    /// In milliseconds; 0 when the clock was set back meanwhile.
    pub(crate) fn millis(&self) -> u64 {
        let elapsed = self.clock.now().duration_since(self.since).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
