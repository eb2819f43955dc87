//! Requests that must wait for the time in `Retry-After`.

use std::time::{Duration, SystemTime};

use symbolon_lease::{Lease, LeaseCache};
use symbolon_types::{Error, SharedClock};

use crate::token::{CacheKey, TokenKey};

/// Maximum number of remembered requests.
const CAPACITY: usize = 1_000;
/// Maximum delay. A longer `Retry-After` is cut to it
/// (`docs/protocol/token-request.md#throttling`).
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Errors with `Retry-After`, under the cache key of the failed request. Until the delay is over,
/// the same request returns the error again: no assertion is signed and nothing is sent to the
/// token endpoint.
///
/// A missing binding is minted first even then: without its certificate there is no key to look up.
/// At most 1,000 errors are held.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    errors: LeaseCache<TokenKey, (Error, SystemTime)>,
    clock: SharedClock,
}

impl Throttle {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { errors: LeaseCache::new(CAPACITY, clock.clone()), clock }
    }

    /// Returns the error of a request that must still wait, with the time left.
    pub(crate) fn check(&self, key: &CacheKey<'_>) -> Result<(), Error> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let Some(found) = self.errors.find(key) else { return Ok(()) };
        let (error, until) = found.value;
        Err(error.with_retry_after(until.duration_since(self.clock.now()).ok()))
    }

    /// Stores an error that has a delay.
    pub(crate) fn note(&self, key: TokenKey, error: &Error) {
        let Some(wait) = error.retry_after().filter(|wait| !wait.is_zero()) else { return };
        let until = self.clock.now() + wait.min(LONGEST);
        self.errors.insert(key, Lease::new((error.clone(), until), until));
    }
}
