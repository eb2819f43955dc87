//! A point in time in eight bytes.

use std::time::{Duration, SystemTime};

/// Nanoseconds since 1970. What lies before or after what that can say (2554) is moved to its edge.
///
/// Half the size of a `SystemTime`, so that what a look-up reads of an entry is one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// After everything else.
    pub(super) const NEVER: Self = Self(u64::MAX);

    pub(super) fn of(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => {
                let nanos = since.as_secs().checked_mul(1_000_000_000);
                let nanos = nanos.and_then(|nanos| nanos.checked_add(since.subsec_nanos().into()));
                Self(nanos.unwrap_or(u64::MAX - 1))
            }
            Err(_) => Self(0),
        }
    }

    pub(super) fn after(self, pause: Duration) -> Self {
        Self::of(self.time() + pause)
    }

    pub(super) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_time_it_was_made_of() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_000_000, 123_456_700);
        assert_eq!(Moment::of(time).time(), time);
        assert!(Moment::of(time) < Moment::of(time + Duration::from_micros(1)));
    }

    #[test]
    fn what_lies_too_far_away_is_moved_to_the_edge() {
        let far = Duration::from_secs(1000 * 365 * 24 * 60 * 60);
        assert_eq!(Moment::of(SystemTime::UNIX_EPOCH - far), Moment::of(SystemTime::UNIX_EPOCH));
        let late = Moment::of(SystemTime::UNIX_EPOCH + far);
        assert!(late < Moment::NEVER && late > Moment::of(SystemTime::UNIX_EPOCH + far / 2));
    }
}
