//! A point in time in eight bytes.

use std::time::{Duration, SystemTime};

/// Nanoseconds since 1970. Times outside of its range (1970 to 2554) are moved to its ends.
///
/// Half the size of a `SystemTime`, so that a lookup reads one cache line of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixNanos(u64);

impl UnixNanos {
    /// Later than every other value.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn from_time(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => {
                let nanos = since.as_secs().checked_mul(1_000_000_000);
                let nanos = nanos.and_then(|nanos| nanos.checked_add(since.subsec_nanos().into()));
                Self(nanos.unwrap_or(u64::MAX - 1))
            }
            Err(_) => Self(0),
        }
    }

    pub(crate) fn to_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self::from_time(self.to_time() + duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_keeps_the_time() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_000_000, 123_456_700);
        assert_eq!(UnixNanos::from_time(time).to_time(), time);
        assert!(UnixNanos::from_time(time) < UnixNanos::from_time(time + Duration::from_micros(1)));
    }

    #[test]
    fn out_of_range_times_are_clamped() {
        let epoch = SystemTime::UNIX_EPOCH;
        let far = Duration::from_secs(1000 * 365 * 24 * 60 * 60);
        assert_eq!(UnixNanos::from_time(epoch - far), UnixNanos::from_time(epoch));
        let late = UnixNanos::from_time(epoch + far);
        assert!(late < UnixNanos::NEVER && late > UnixNanos::from_time(epoch + far / 2));
    }
}
