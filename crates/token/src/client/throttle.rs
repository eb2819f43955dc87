//! Requests that the token service asked to delay.

use std::time::{Duration, SystemTime};

use symbolon_lease::{Lease, LeaseCache};
use symbolon_types::{Error, SharedClock};

use crate::token::{CacheKey, TokenKey};

/// Maximum number of remembered requests.
const CAPACITY: usize = 1_000;
/// A service is not believed when it asks for more (MSAL.NET `RetryAfterProvider`).
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Errors that came with `Retry-After`, under the key of the request that got them, so that the
/// same request is not sent again before its time, and nothing is signed or minted for it.
///
/// The key is the token's: one user's limit is not another's. At most 1,000 are remembered.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    errors: LeaseCache<TokenKey, (Error, SystemTime)>,
    clock: SharedClock,
}

impl Throttle {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { errors: LeaseCache::new(CAPACITY, clock.clone()), clock }
    }

    /// The error that stands in the way of a request, with the time left.
    pub(crate) fn check(&self, key: &CacheKey<'_>) -> Result<(), Error> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let Some(found) = self.errors.find(key) else { return Ok(()) };
        let (error, until) = found.value;
        Err(error.with_retry_after(until.duration_since(self.clock.now()).ok()))
    }

    /// Remembers an error that asks for a wait.
    pub(crate) fn note(&self, key: TokenKey, error: &Error) {
        let Some(wait) = error.retry_after().filter(|wait| !wait.is_zero()) else { return };
        let until = self.clock.now() + wait.min(LONGEST);
        self.errors.insert(key, Lease::new((error.clone(), until), until));
    }
}
