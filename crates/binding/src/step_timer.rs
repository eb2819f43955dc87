//! Durations for logs.

use std::time::SystemTime;

use symbolon_types::SharedClock;

/// A stopwatch on an injected clock.
pub(crate) struct StepTimer<'c> {
    clock: &'c SharedClock,
    start: SystemTime,
}

impl<'c> StepTimer<'c> {
    pub(crate) fn start(clock: &'c SharedClock) -> Self {
        Self { clock, start: clock.now() }
    }

    /// Returns the elapsed milliseconds; 0 if the clock was set back since the start.
    pub(crate) fn millis(&self) -> u64 {
        let elapsed = self.clock.now().duration_since(self.start).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
