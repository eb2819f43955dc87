//! Points in time on a steady clock.

use std::time::Duration;

/// A point in time on the steady clock of a [`Clock`](super::Clock), which nobody sets.
///
/// It has eight bytes. Values of different clocks, or of different processes, cannot be compared.
/// Arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteadyTime(u64);

impl SteadyTime {
    /// A time before every reading.
    pub const PAST: Self = Self(0);
    /// A time that is never reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// Creates the time that is this long after the beginning of the clock.
    #[must_use]
    pub fn after_start(elapsed: Duration) -> Self {
        Self(nanos(elapsed).min(u64::MAX - 1))
    }

    /// Returns the time that is `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        if self == Self::NEVER {
            return self;
        }
        Self(self.0.saturating_add(nanos(duration)).min(u64::MAX - 1))
    }

    /// Returns the time that is `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        if self == Self::NEVER { self } else { Self(self.0.saturating_sub(nanos(duration))) }
    }

    /// Returns the time since `earlier`; zero if that is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let (second, long) = (Duration::from_secs(1), Duration::MAX);
        let time = SteadyTime::after_start(second);
        assert_eq!(time.plus(second).since(time), second);
        assert_eq!(time.minus(second), SteadyTime::PAST);
        assert_eq!(time.minus(long), SteadyTime::PAST);
        assert_eq!(time.since(time.plus(second)), Duration::ZERO);
        for late in [time.plus(long), SteadyTime::after_start(long)] {
            assert!(late < SteadyTime::NEVER && late > time.plus(second));
        }
        assert_eq!(SteadyTime::NEVER.plus(second), SteadyTime::NEVER);
        assert_eq!(SteadyTime::NEVER.minus(second), SteadyTime::NEVER);
    }
}
