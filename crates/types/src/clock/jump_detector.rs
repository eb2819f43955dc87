//! Jumps of the wall clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use super::steady_time::SteadyTime;

/// The time after which the clocks are compared again.
const INTERVAL: u64 = 1_000_000_000;
/// The smallest difference that counts as a jump.
const MIN_JUMP: i128 = 1_000_000_000;
/// The longest time between two readings that are compared.
const MAX_GAP: u64 = 100_000_000;

/// A steady clock on top of a raw one, in nanoseconds, that never goes back.
///
/// When the wall clock jumps forward, it follows. The raw clock stands still while the machine is
/// paused by its hypervisor, and on some systems while it is suspended, and the wall clock is set
/// after that. A jump for another reason only makes deadlines earlier. The wall clock is read at
/// most once per second.
pub(super) struct JumpDetector {
    compare_from: AtomicU64,
    /// The sum of all jumps forward.
    ahead: AtomicU64,
    /// Wall time minus raw time, at the last jump.
    offset: Mutex<Option<i128>>,
}

impl JumpDetector {
    pub(super) const fn new() -> Self {
        Self { compare_from: AtomicU64::new(0), ahead: AtomicU64::new(0), offset: Mutex::new(None) }
    }

    pub(super) fn now(&self, raw: impl Fn() -> u64, wall: impl FnOnce() -> SystemTime) -> SteadyTime {
        let now = raw();
        if now >= self.compare_from.load(Ordering::Relaxed) {
            self.compare(now, wall(), &raw);
        }
        let ahead = self.ahead.load(Ordering::Relaxed);
        SteadyTime::after_start(Duration::from_nanos(now.saturating_add(ahead)))
    }

    fn compare(&self, before: u64, wall: SystemTime, raw: &impl Fn() -> u64) {
        // The thread may have been stopped between the readings.
        if raw().saturating_sub(before) > MAX_GAP {
            return;
        }
        let mut offset = match self.offset.try_lock() {
            Ok(offset) => offset,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.compare_from.store(before.saturating_add(INTERVAL), Ordering::Relaxed);
        let now = unix_nanos(wall) - i128::from(before);
        let jump = now - *offset.get_or_insert(now);
        if jump.abs() < MIN_JUMP {
            return;
        }
        *offset = Some(now);
        if let Ok(forward) = u64::try_from(jump) {
            self.ahead.fetch_add(forward, Ordering::Relaxed);
        }
    }
}

fn unix_nanos(time: SystemTime) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seconds(raw: u64, wall: SystemTime, detector: &JumpDetector) -> f64 {
        detector.now(|| raw * SECOND, || wall).since(SteadyTime::PAST).as_secs_f64()
    }

    #[test]
    fn only_jumps_forward_are_followed() {
        let detector = JumpDetector::new();
        for (raw, at, expected) in [
            (10, wall(5010), 10.0),
            (11, wall(5011), 11.0),
            // Two hours forward, back again, and a day before that.
            (12, wall(12_212), 7212.0),
            (13, wall(5013), 7213.0),
            (14, wall(0), 7214.0),
            (15, wall(1), 7215.0),
        ] {
            assert_eq!(seconds(raw, at, &detector), expected, "{raw}");
        }
    }

    #[test]
    fn slow_drift_is_no_jump() {
        let detector = JumpDetector::new();
        let start = wall(5000);
        assert_eq!(seconds(1, start, &detector), 1.0);
        let drifted = start + Duration::from_millis(60_900);
        assert_eq!(seconds(61, drifted, &detector), 61.0);
        assert_eq!(seconds(62, drifted + Duration::from_millis(1_100), &detector), 63.0);
    }

    #[test]
    fn wall_clock_is_read_once_per_second() {
        let detector = JumpDetector::new();
        let reads = Cell::new(0);
        for millis in (0..3000).step_by(10) {
            detector.now(
                || millis * 1_000_000,
                || {
                    reads.set(reads.get() + 1);
                    wall(5000) + Duration::from_millis(millis)
                },
            );
        }
        assert_eq!(reads.get(), 3);
    }

    #[test]
    fn stopped_thread_is_no_jump() {
        let detector = JumpDetector::new();
        assert_eq!(seconds(10, wall(5010), &detector), 10.0);
        // Stopped for an hour after the first reading.
        let raw = Cell::new(11 * SECOND);
        let read = || raw.replace(3611 * SECOND);
        let stopped = detector.now(read, || wall(8611));
        assert_eq!(stopped, SteadyTime::after_start(Duration::from_secs(11)));
        assert_eq!(seconds(3612, wall(8612), &detector), 3612.0);
    }
}
