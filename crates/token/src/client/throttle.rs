//! Requests that must wait: for the time in `Retry-After`, or after a refused credential.

use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache, RefusalCache};
use symbolon_types::{Error, SharedClock, SteadyTime, Thumbprint};

use crate::token::{CacheKey, TokenKey};

/// Maximum number of remembered requests of each kind.
const CAPACITY: usize = 1_000;
/// Maximum delay. A longer `Retry-After` is cut to it
/// (`docs/protocol/token-request.md#throttling`).
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Errors by the cache key of the failed request, until the same request may be sent again. Until
/// then it returns the error with the time left: no assertion is signed and nothing is sent to the
/// token endpoint.
///
/// A missing binding is minted first even then: without its certificate there is no key to look up.
/// At most 1,000 errors of each kind are held.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    /// Errors with `Retry-After`.
    delayed: LeaseCache<TokenKey, (Error, SteadyTime)>,
    /// Refused credentials, with their digests.
    pub(super) refused: RefusalCache<TokenKey, Thumbprint>,
    clock: SharedClock,
}

impl Throttle {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            delayed: LeaseCache::new(CAPACITY, clock.clone()),
            refused: RefusalCache::new(CAPACITY, clock.clone()),
            clock,
        }
    }

    /// Returns the error of a request that must still wait, with the time left.
    pub(crate) fn check(&self, key: &CacheKey<'_>) -> Result<(), Error> {
        if self.delayed.is_empty() {
            return Ok(());
        }
        let Some(found) = self.delayed.find(key) else { return Ok(()) };
        let (error, until) = found.value;
        Err(error.with_retry_after(Some(until.since(self.clock.steady_now()))))
    }

    /// Stores an error that has a delay.
    pub(crate) fn note(&self, key: TokenKey, error: &Error) {
        let Some(wait) = error.retry_after().filter(|wait| !wait.is_zero()) else { return };
        let until = self.clock.steady_now().plus(wait.min(LONGEST));
        self.delayed.insert(key, Lease::new((error.clone(), until), until));
    }
}
