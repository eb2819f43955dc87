//! Durations for logs.

use symbolon_types::{SharedClock, SteadyTime};

/// A stopwatch on an injected clock.
pub(crate) struct StepTimer<'c> {
    clock: &'c SharedClock,
    start: SteadyTime,
}

impl<'c> StepTimer<'c> {
    pub(crate) fn start(clock: &'c SharedClock) -> Self {
        Self { clock, start: clock.steady_now() }
    }

    /// Returns the elapsed milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        let elapsed = self.clock.steady_now().since(self.start);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
