//! The lifetime of a token and the time of its refresh.

use std::time::Duration;

use symbolon_lease::half_life;
use symbolon_types::Jitter;

// The rules are those of `docs/protocol/token-request.md#lifetime-and-refresh`.

/// The time before its expiry at which a token is no longer served, because it still has to travel.
const SKEW: Duration = Duration::from_secs(30);
/// The time before its expiry at which a token without `refresh_in` is refreshed.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// The lifetime above which a token without `refresh_in` is refreshed at half its life.
const LONG_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// The maximum random advance of a refresh, so that clients do not refresh together.
const SPREAD: Duration = Duration::from_secs(5 * 60);

/// The lifetime of a token as its issuer states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Expiry {
    lifetime: Duration,
    refresh_in: Option<Duration>,
}

impl Expiry {
    /// The longest plausible lifetime. A stored entry with a longer one is corrupt.
    pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

    /// Creates the expiry of a token that lives this long from now (`expires_in`).
    pub fn after(lifetime: Duration) -> Self {
        Self { lifetime: lifetime.min(Self::LONGEST_LIFE), refresh_in: None }
    }

    /// Sets the time after which the token is refreshed (`refresh_in`). Zero counts as absent,
    /// because it would refresh the token at every request.
    pub fn refreshed_after(mut self, refresh_in: Option<Duration>) -> Self {
        self.refresh_in = refresh_in.filter(|refresh_in| !refresh_in.is_zero());
        self
    }

    pub(crate) fn life(self) -> Duration {
        self.lifetime
    }

    /// Returns the deadlines of a token whose certificate, if it has one, ends after `bound_for`.
    /// The jitter is drawn once, here.
    pub(crate) fn deadlines(self, bound_for: Option<Duration>, jitter: &Jitter) -> Deadlines {
        let useful = bound_for.map_or(self.lifetime, |end| end.min(self.lifetime));
        let served_for = useful - SKEW.min(useful / 10);
        let early = |wait: Duration| wait - SPREAD.min(wait / 20).mul_f64(jitter.draw());
        let refresh_in = match self.refresh_in {
            Some(refresh_in) if refresh_in < useful => early(refresh_in),
            _ if useful > LONG_LIFE => half_life(useful, jitter),
            _ => early(useful - EARLY.min(useful / 2)),
        };
        Deadlines { expires_in: self.lifetime, refresh_in: refresh_in.min(served_for), served_for }
    }
}

/// The deadlines of one token, from the moment of its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// The lifetime that the issuer stated.
    pub(crate) expires_in: Duration,
    /// The time after which the token is refreshed.
    pub(crate) refresh_in: Duration,
    /// The time for which the token is served.
    pub(crate) served_for: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_issuer_and_certificate() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (lifetime, refresh_in, bound_for, draw, expected_refresh, expected_end) in [
            // An hour: five minutes before the end, served until half a minute before it.
            (minutes(60), None, None, 0.0, minutes(55), minutes(60) - SKEW),
            // Jitter only makes the refresh earlier.
            (minutes(60), None, None, 1.0, minutes(55) - minutes(55) / 20, minutes(60) - SKEW),
            // A day: at half of it.
            (minutes(1440), None, None, 0.5, minutes(720), minutes(1440) - SKEW),
            // `refresh_in`.
            (minutes(1440), Some(minutes(100)), None, 0.0, minutes(100), minutes(1440) - SKEW),
            // `refresh_in` of zero is ignored.
            (minutes(60), Some(Duration::ZERO), None, 0.0, minutes(55), minutes(60) - SKEW),
            // `refresh_in` beyond the end is ignored.
            (minutes(60), Some(minutes(90)), None, 0.0, minutes(55), minutes(60) - SKEW),
            // So is `refresh_in` at the end. Shortly before the end, it is limited to the time
            // until which the token is served.
            (minutes(60), Some(minutes(60)), None, 0.0, minutes(55), minutes(60) - SKEW),
            (minutes(60), Some(minutes(60) - SKEW / 2), None, 0.0, minutes(60) - SKEW, minutes(60) - SKEW),
            // Two hours are not a long life. Jitter is at most five minutes.
            (minutes(120), None, None, 0.0, minutes(115), minutes(120) - SKEW),
            (minutes(120), None, None, 1.0, minutes(110), minutes(120) - SKEW),
            // The certificate ends first.
            (minutes(60), None, Some(minutes(30)), 0.0, minutes(25), minutes(30) - SKEW),
            // Ten seconds: refreshed at half of them, served for nine.
            (Duration::from_secs(10), None, None, 0.0, Duration::from_secs(5), Duration::from_secs(9)),
            // An expired certificate: the token is not served.
            (minutes(60), None, Some(Duration::ZERO), 0.0, Duration::ZERO, Duration::ZERO),
        ] {
            let expiry = Expiry::after(lifetime).refreshed_after(refresh_in);
            let deadlines = expiry.deadlines(bound_for, &Jitter::fixed(draw));
            assert_eq!(deadlines.expires_in, lifetime);
            assert_eq!(deadlines.refresh_in, expected_refresh, "{lifetime:?} {refresh_in:?} {draw}");
            assert_eq!(deadlines.served_for, expected_end, "{lifetime:?} {bound_for:?}");
        }
    }

    #[test]
    fn absurd_lifetime_does_not_overflow() {
        let deadlines = Expiry::after(Duration::MAX).deadlines(None, &Jitter::fixed(0.5));
        assert_eq!(deadlines.expires_in, Expiry::LONGEST_LIFE);
    }
}
