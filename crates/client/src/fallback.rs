//! The policy for resources that take no bound tokens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use symbolon_types::{Error, SteadyTime};

/// The codes by which the token service reports that a resource takes no bound tokens
/// (`docs/protocol/errors.md#aadsts-codes`).
const NO_BOUND_TOKENS: [u32; 2] = [392_196, 3_921_996];
/// The time for which that report is remembered.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// The policy for a request for a bound token, if the token service reports that the resource takes
/// no bound tokens (AADSTS392196 or AADSTS3921996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerFallback {
    /// The request fails.
    #[default]
    Never,
    /// A bearer token is used instead, with a warning in the log, for an hour. After any other
    /// error, the request fails.
    WhereResourceTakesNoBoundTokens,
}

impl BearerFallback {
    /// Returns true if the policy replaces this failure by a bearer token.
    pub(crate) fn applies_to(self, error: &Error) -> bool {
        self == Self::WhereResourceTakesNoBoundTokens
            && error.server_codes().iter().any(|code| NO_BOUND_TOKENS.contains(code))
    }
}

/// The end of the time in which bearer tokens are used. A client has one tenant and one resource.
#[derive(Debug, Default)]
pub(crate) struct FallbackMemory(Mutex<Option<SteadyTime>>);

impl FallbackMemory {
    pub(crate) fn is_active(&self, now: SteadyTime) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }

    pub(crate) fn activate(&self, now: SteadyTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.plus(MEMORY));
    }
}

#[cfg(test)]
mod tests {
    use symbolon_types::ErrorKind;

    use super::*;

    #[test]
    fn only_two_codes_allow_the_fallback() {
        let error = |codes: &[u32]| {
            Error::new(ErrorKind::Service, "invalid_request", "x").with_server_codes(codes.to_vec())
        };
        let policy = BearerFallback::WhereResourceTakesNoBoundTokens;
        for (codes, applies) in [
            (&[392_196][..], true),
            (&[3_921_996], true),
            (&[500_011, 392_196], true),
            (&[], false),
            (&[392_200], false),
            (&[39_219], false),
            (&[650_057], false),
        ] {
            assert_eq!(policy.applies_to(&error(codes)), applies, "{codes:?}");
            assert!(!BearerFallback::Never.applies_to(&error(codes)));
        }
    }

    #[test]
    fn memory_ends_after_an_hour() {
        let memory = FallbackMemory::default();
        let at = |seconds: u64| SteadyTime::after_start(Duration::from_secs(10_000 + seconds));
        assert!(!memory.is_active(at(0)));
        memory.activate(at(0));
        assert!(memory.is_active(at(0)) && memory.is_active(at(3599)));
        assert!(!memory.is_active(at(3600)));
    }
}
