//! Refresh times in the middle of a lifetime.

use std::time::Duration;

use symbolon_types::Jitter;

/// The largest jitter of a half-life, in either direction
/// (`docs/protocol/imdsv2.md#binding-lifetime`).
const MAX_JITTER: Duration = Duration::from_secs(5 * 60);

/// Returns half of a lifetime, moved by at most five minutes or a twentieth of the lifetime,
/// whichever is less.
#[must_use]
pub fn half_life(lifetime: Duration, jitter: &Jitter) -> Duration {
    let spread = MAX_JITTER.min(lifetime / 20);
    (lifetime / 2 - spread) + (spread * 2).mul_f64(jitter.draw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_life_is_the_middle_with_jitter() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (draw, expected) in [(0.0, 12 * 3600 - 300), (0.5, 12 * 3600), (1.0, 12 * 3600 + 300)] {
            let half = half_life(hours(24), &Jitter::fixed(draw));
            assert_eq!(half, Duration::from_secs(expected), "{draw}");
        }
        assert_eq!(half_life(Duration::ZERO, &Jitter::fixed(1.0)), Duration::ZERO);
        assert_eq!(half_life(Duration::from_secs(100), &Jitter::fixed(1.0)), Duration::from_secs(55));
    }
}
