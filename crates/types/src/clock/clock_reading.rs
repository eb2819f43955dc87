//! One moment on two clocks.

use std::time::{Duration, SystemTime};

use super::steady_time::SteadyTime;

/// The difference to the `Date` of a server, which has whole seconds and has travelled, from which
/// one of the clocks is wrong.
const MIN_SKEW: Duration = Duration::from_secs(30);

/// One moment on the steady clock and on a wall clock: that of this machine, or that of a server
/// which stated its time in a response.
///
/// It converts the dates of that wall clock into deadlines that no later change of the clock moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two readings, and nothing else")]
pub struct ClockReading {
    /// The reading of the steady clock.
    pub steady: SteadyTime,
    /// The reading of the wall clock.
    pub wall: SystemTime,
}

impl ClockReading {
    /// Returns the same moment on the clock of a server whose response has this `Date`. While both
    /// clocks agree within 30 seconds, that of this machine is used, because it is more precise.
    #[must_use]
    pub fn with_date(self, date: Option<SystemTime>) -> Self {
        Self { wall: date.filter(|date| self.skew(*date).is_some()).unwrap_or(self.wall), ..self }
    }

    /// Returns the difference to the `Date` of a server, and true if this clock is ahead of it.
    /// `None` if the clocks agree within 30 seconds.
    #[must_use]
    pub fn skew(&self, date: SystemTime) -> Option<(Duration, bool)> {
        let (difference, is_ahead) = match self.wall.duration_since(date) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        };
        (difference > MIN_SKEW).then_some((difference, is_ahead))
    }

    /// Returns the time until a date of the wall clock; zero if it has passed.
    #[must_use]
    pub fn until(&self, date: SystemTime) -> Duration {
        date.duration_since(self.wall).unwrap_or_default()
    }

    /// Returns the steady time of a date of the wall clock.
    #[must_use]
    pub fn steady_at(&self, date: SystemTime) -> SteadyTime {
        match date.duration_since(self.wall) {
            Ok(ahead) => self.steady.plus(ahead),
            Err(behind) => self.steady.minus(behind.duration()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_relative_to_the_reading() {
        let hour = Duration::from_secs(3600);
        let wall = SystemTime::UNIX_EPOCH + 1000 * hour;
        let reading = ClockReading { steady: SteadyTime::after_start(10 * hour), wall };
        assert_eq!(reading.steady_at(wall + hour), SteadyTime::after_start(11 * hour));
        assert_eq!(reading.steady_at(wall - hour), SteadyTime::after_start(9 * hour));
        assert_eq!(reading.steady_at(wall - 99 * hour), SteadyTime::PAST);
        assert_eq!((reading.until(wall + hour), reading.until(wall - hour)), (hour, Duration::ZERO));
        // The server's clock is two hours ahead.
        let of_server = reading.with_date(Some(wall + 2 * hour));
        assert_eq!(of_server.steady_at(wall + 3 * hour), SteadyTime::after_start(11 * hour));
        let minute = Duration::from_secs(60);
        assert_eq!(reading.skew(wall + 2 * hour), Some((2 * hour, false)));
        assert_eq!(reading.skew(wall - minute), Some((minute, true)));
        for agreeing in [None, Some(wall - minute / 2), Some(wall + minute / 2)] {
            assert_eq!(reading.with_date(agreeing), reading);
        }
    }
}
