//! The newest bound tokens of a client.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use symbolon_lease::{Lease, LeaseCache, LeaseKey, Loaded, Obtained, Origin};
use symbolon_types::{ClientIdentity, Error, RefreshReason, SharedClock, SteadyTime, Thumbprint};

use crate::cache::{TokenCache, events};
use crate::token::{CacheKey, Delivery, Token, TokenKey};

/// Maximum number of remembered refused certificates.
const REFUSED_CAPACITY: usize = 64;

/// The cache key of the newest bound token for each request, whichever certificate it is bound to.
///
/// The tokens themselves are in the cache. An entry ends with the certificate of its token.
#[derive(Debug)]
pub(crate) struct BoundTokens {
    newest: LeaseCache<TokenKey, TokenKey>,
    refused: Mutex<VecDeque<Thumbprint>>,
    clock: SharedClock,
}

impl BoundTokens {
    pub(crate) fn new(capacity: usize, clock: SharedClock) -> Self {
        Self { newest: LeaseCache::new(capacity, clock.clone()), refused: Mutex::default(), clock }
    }

    /// Records the key of a token that is bound to this certificate.
    pub(super) fn record(&self, key: &TokenKey, certificate: &ClientIdentity) {
        let request = key.borrowed().without_certificate();
        self.newest.insert(request.to_key(), entry(key, end_of(certificate, &self.clock)));
    }

    /// Returns the newest token for the request of this key, unless it has expired or its
    /// certificate was refused.
    pub(super) fn find(&self, cache: &TokenCache, key: &CacheKey<'_>) -> Option<Token> {
        let newest = self.newest.find(&key.without_certificate())?.value;
        let token = cache.find_even_if_due(&newest.borrowed())?;
        let certificate = token.bound_to()?.thumbprint();
        (!self.refused().contains(&certificate)).then_some(token)
    }

    /// Returns the token of an earlier certificate, and requests its successor in the background.
    ///
    /// Requests for one key share the successor. After a failure, the next one waits like a failed
    /// refresh. Outside of a Tokio runtime the caller waits for the successor.
    pub(super) async fn serve<L>(
        &self,
        cache: &TokenCache,
        predecessor: Token,
        successor: impl FnOnce() -> L,
    ) -> Token
    where
        L: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        let load = || {
            let (successor, clock) = (successor(), self.clock.clone());
            async move {
                let token = successor.await.inspect_err(events::not_replaced)?;
                let until = match token.bound_to() {
                    Some(certificate) => end_of(certificate, &clock),
                    None => clock.read().steady_at(token.expires_on()),
                };
                Ok(Loaded::new(entry(token.key(), until)))
            }
        };
        let request = predecessor.key().borrowed().without_certificate();
        let Ok(Obtained { value: newest, origin, .. }) = self.newest.obtain(&request, load).await else {
            return predecessor;
        };
        match cache.find_even_if_due(&newest.borrowed()) {
            Some(successor) if origin == Origin::Load => {
                successor.with_delivery(Delivery::fetched(RefreshReason::Missing))
            }
            Some(token) => token,
            None => predecessor,
        }
    }

    /// Records that exactly this certificate was refused: its tokens are no longer served in place
    /// of others.
    pub(super) fn refuse(&self, certificate: Thumbprint) {
        let mut refused = self.refused();
        if refused.contains(&certificate) {
            return;
        }
        if refused.len() >= REFUSED_CAPACITY {
            refused.pop_front();
        }
        refused.push_back(certificate);
    }

    fn refused(&self) -> MutexGuard<'_, VecDeque<Thumbprint>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an entry that is always due: it is read if the current certificate has no token.
fn entry(key: &TokenKey, until: SteadyTime) -> Lease<TokenKey> {
    Lease::new(key.clone(), until).with_refresh_at(SteadyTime::PAST)
}

fn end_of(certificate: &ClientIdentity, clock: &SharedClock) -> SteadyTime {
    let now = clock.read();
    now.steady.plus(certificate.time_until(certificate.not_after(), now))
}
