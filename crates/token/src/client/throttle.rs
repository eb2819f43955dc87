//! Requests that must wait: for the time in `Retry-After`, or after a refused credential.

use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache};
use symbolon_types::{Error, SharedClock, SteadyTime, Thumbprint};

use crate::token::{CacheKey, TokenKey};

/// Maximum number of remembered requests of each kind.
const CAPACITY: usize = 1_000;
/// Maximum delay. A longer `Retry-After` is cut to it
/// (`docs/protocol/token-request.md#throttling`).
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// The pause after the first refusal of a credential; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a refusal.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The time after a pause for which its length is remembered.
const MEMORY: Duration = Duration::from_secs(60);

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
    refused: LeaseCache<TokenKey, RefusedCredential>,
    clock: SharedClock,
}

/// The refusal of a credential.
#[derive(Clone, Debug)]
struct RefusedCredential {
    error: Error,
    /// The digest of the credential.
    digest: Thumbprint,
    pause: Duration,
    until: SteadyTime,
}

impl Throttle {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            delayed: LeaseCache::new(CAPACITY, clock.clone()),
            refused: LeaseCache::new(CAPACITY, clock.clone()),
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

    /// Returns the refusal of a credential that must not be sent again yet: the error with the time
    /// left, and the digest of the credential.
    pub(crate) fn refusal(&self, key: &CacheKey<'_>) -> Option<(Error, Thumbprint)> {
        if self.refused.is_empty() {
            return None;
        }
        let RefusedCredential { error, digest, until, .. } = self.refused.find(key)?.value;
        let left = until.since(self.clock.steady_now());
        (!left.is_zero()).then(|| (error.with_retry_after(Some(left)), digest))
    }

    /// Stores the refusal of the credential with this digest.
    pub(crate) fn note_refusal(&self, key: TokenKey, digest: Thumbprint, error: &Error) {
        let earlier = self.refused.find(&key).map(|found| found.value);
        let pause = match earlier.filter(|earlier| earlier.digest == digest) {
            Some(earlier) => MAX_PAUSE.min(earlier.pause * 2),
            None => FIRST_PAUSE,
        };
        let until = self.clock.steady_now().plus(pause);
        let refused = RefusedCredential { error: error.clone(), digest, pause, until };
        self.refused.insert(key, Lease::new(refused, until.plus(MEMORY)));
    }

    /// Forgets the refusal, because the token service has accepted a credential.
    pub(crate) fn accept(&self, key: &TokenKey) {
        if !self.refused.is_empty() {
            self.refused.remove_if(key, |_| true);
        }
    }
}
