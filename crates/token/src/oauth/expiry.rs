//! How long a token is good for, and when to renew it.

use std::time::{Duration, SystemTime};

use symbolon_lease::half_life;
use symbolon_types::Jitter;

/// A token is no longer handed out this long before it expires: it still has to travel.
const SKEW: Duration = Duration::from_secs(30);
/// Without a hint of the server, renewal starts this long before expiry (MSAL.NET §4.2).
const EARLY: Duration = Duration::from_secs(5 * 60);
/// A token that lives longer is renewed at half its life, hint or not (MSAL.NET §4.3).
const LONG_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// The most by which a renewal is moved forward, so that clients do not renew together.
const SPREAD: Duration = Duration::from_secs(5 * 60);
/// How long a token lives, as its issuer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    lifetime: Duration,
    refresh_in: Option<Duration>,
}

impl Expiry {
    /// The longest plausible lifetime: an entry of a store or file that claims more is corrupt
    /// (`docs/protocol/token-request.md#lifetime-and-refresh`).
    pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

    /// A token that lives this long from now (`expires_in`).
    #[must_use]
    pub fn after(lifetime: Duration) -> Self {
        Self { lifetime: lifetime.min(Self::LONGEST_LIFE), refresh_in: None }
    }

    /// The same, to be renewed after this long (`refresh_in`). Zero is no hint: it would renew at
    /// every request.
    #[must_use]
    pub fn refreshed_after(mut self, refresh_in: Option<Duration>) -> Self {
        self.refresh_in = refresh_in.filter(|refresh_in| !refresh_in.is_zero());
        self
    }

    /// The moments that follow from it, for a token issued at `now` that is of no use after
    /// `bound_until`. Jitter is drawn here, once.
    pub(crate) fn deadlines(
        self,
        now: SystemTime,
        bound_until: Option<SystemTime>,
        jitter: &Jitter,
    ) -> Deadlines {
        let expires_on = now + self.lifetime;
        let of_no_use = bound_until.map_or(expires_on, |until| until.min(expires_on));
        let useful = of_no_use.duration_since(now).unwrap_or_default();
        let served_until = of_no_use - SKEW.min(useful / 10);
        let refresh_on = match self.refresh_in {
            Some(refresh_in) if refresh_in < useful => early(now, refresh_in, jitter),
            _ if useful > LONG_LIFE => half_life(now, of_no_use, jitter),
            _ => early(now, useful - EARLY.min(useful / 2), jitter),
        };
        Deadlines { expires_on, refresh_on: refresh_on.min(served_until), served_until }
    }
}

/// That long from now, or a little earlier.
fn early(now: SystemTime, wait: Duration, jitter: &Jitter) -> SystemTime {
    now + wait - SPREAD.min(wait / 20).mul_f64(jitter.draw())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// What the issuer says.
    pub(crate) expires_on: SystemTime,
    /// The soft deadline.
    pub(crate) refresh_on: SystemTime,
    /// The hard deadline.
    pub(crate) served_until: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_the_issuer_and_the_certificate() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (lifetime, refresh_in, bound_until, draw, expected_refresh, expected_end) in [
            // An hour: five minutes before the end, served until half a minute before it.
            (minutes(60), None, None, 0.0, minutes(55), minutes(60) - SKEW),
            // Jitter only ever makes it earlier.
            (minutes(60), None, None, 1.0, minutes(55) - minutes(55) / 20, minutes(60) - SKEW),
            // A day: half of it.
            (minutes(1440), None, None, 0.5, minutes(720), minutes(1440) - SKEW),
            // The server's hint.
            (minutes(1440), Some(minutes(100)), None, 0.0, minutes(100), minutes(1440) - SKEW),
            // A hint of nothing is none.
            (minutes(60), Some(Duration::ZERO), None, 0.0, minutes(55), minutes(60) - SKEW),
            // A hint beyond the end is none.
            (minutes(60), Some(minutes(90)), None, 0.0, minutes(55), minutes(60) - SKEW),
            // A hint of the very end is none either, and one that all but is counts for as long as
            // the token is served.
            (minutes(60), Some(minutes(60)), None, 0.0, minutes(55), minutes(60) - SKEW),
            (minutes(60), Some(minutes(60) - SKEW / 2), None, 0.0, minutes(60) - SKEW, minutes(60) - SKEW),
            // Two hours are not yet a long life, and jitter ends at five minutes.
            (minutes(120), None, None, 0.0, minutes(115), minutes(120) - SKEW),
            (minutes(120), None, None, 1.0, minutes(110), minutes(120) - SKEW),
            // The certificate ends first.
            (minutes(60), None, Some(minutes(30)), 0.0, minutes(25), minutes(30) - SKEW),
            // Hardly any life: half of it, and almost all of it.
            (Duration::from_secs(10), None, None, 0.0, Duration::from_secs(5), Duration::from_secs(9)),
            // A dead certificate: nothing is served.
            (minutes(60), None, Some(Duration::ZERO), 0.0, Duration::ZERO, Duration::ZERO),
        ] {
            let deadlines = Expiry::after(lifetime).refreshed_after(refresh_in).deadlines(
                now,
                bound_until.map(|after| now + after),
                &Jitter::fixed(draw),
            );
            assert_eq!(deadlines.expires_on, now + lifetime);
            assert_eq!(deadlines.refresh_on, now + expected_refresh, "{lifetime:?} {refresh_in:?} {draw}");
            assert_eq!(deadlines.served_until, now + expected_end, "{lifetime:?} {bound_until:?}");
        }
    }

    #[test]
    fn an_absurd_lifetime_does_not_overflow() {
        let deadlines =
            Expiry::after(Duration::MAX).deadlines(SystemTime::UNIX_EPOCH, None, &Jitter::fixed(0.5));
        assert_eq!(deadlines.expires_on, SystemTime::UNIX_EPOCH + Expiry::LONGEST_LIFE);
    }
}
