//! Refresh times in the middle of a lifetime.

use std::time::{Duration, SystemTime};

use symbolon_types::Jitter;

/// The largest jitter of a half-life, in either direction
/// (`docs/protocol/imdsv2.md#binding-lifetime`).
const MAX_JITTER: Duration = Duration::from_secs(5 * 60);

/// Returns the middle between two times, moved by at most five minutes or a twentieth of the time
/// between them, whichever is less.
#[must_use]
pub fn half_life(from: SystemTime, until: SystemTime, jitter: &Jitter) -> SystemTime {
    let lifetime = until.duration_since(from).unwrap_or_default();
    let spread = MAX_JITTER.min(lifetime / 20);
    from + (lifetime / 2 - spread) + (spread * 2).mul_f64(jitter.draw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_life_is_the_middle_with_jitter() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (draw, offset) in [(0.0, -300), (0.5, 0), (1.0, 300)] {
            let at = half_life(from, from + hours(24), &Jitter::fixed(draw));
            assert_eq!(seconds_between(from, at), 12 * 3600 + offset, "{draw}");
        }
        assert_eq!(half_life(from, from - hours(1), &Jitter::fixed(1.0)), from);
        let short = half_life(from, from + Duration::from_secs(100), &Jitter::fixed(1.0));
        assert_eq!(seconds_between(from, short), 55);
    }

    fn seconds_between(from: SystemTime, until: SystemTime) -> i64 {
        until.duration_since(from).map_or(-1, |between| between.as_secs().cast_signed())
    }
}
