//! The token cache.

use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache, LeaseKey, Loaded, Obtained, Origin};
use symbolon_types::{
    ClientIdentity, Context, Error, Jitter, RefreshReason, SharedClock, SharedObserver, SteadyTime,
    Thumbprint, TokenOrigin,
};
use tracing::Instrument as _;

use super::events;
use crate::store::{CacheStore, Lookup, StoreClient};
use crate::token::{CacheKey, CachedToken, DatedRefreshToken, Delivery, IssuedToken, Token, TokenKey};

/// A bounded cache of access tokens, with the refresh tokens of users. Clones share the tokens.
///
/// When the cache is full, expired tokens are evicted first, then the token that expires next. A
/// token is served until shortly before it expires, and renewed before that in the background; if
/// the renewal fails, the token stays. Misses of one key share one fetch, for which other keys
/// never wait. The refresh tokens have the same bound of their own.
///
/// A [`CacheStore`] behind the cache lets processes share the tokens
/// ([`with_store`](Self::with_store)).
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenCache {
    leases: LeaseCache<TokenKey, CachedToken>,
    pub(super) refresh_tokens: LeaseCache<TokenKey, DatedRefreshToken>,
    pub(super) store: Option<StoreClient>,
    capacity: usize,
    /// True if nothing stays in memory.
    pub(super) is_memory_off: bool,
    pub(super) clock: SharedClock,
    jitter: Jitter,
    pub(super) observer: SharedObserver,
}

impl TokenCache {
    /// Default capacity in tokens: 18 MB at 1.8 kB for each.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// Creates an empty cache of at most `capacity` tokens, with the clock, the randomness and the
    /// observer of `context`.
    pub fn new(capacity: usize, context: &Context) -> Self {
        let (clock, jitter) = (context.clock().clone(), context.jitter().clone());
        let leases = LeaseCache::new(capacity, clock.clone());
        let refresh_tokens = LeaseCache::new(capacity, clock.clone());
        let observer = context.observer().clone();
        let is_memory_off = false;
        Self { leases, refresh_tokens, store: None, capacity, is_memory_off, clock, jitter, observer }
    }

    /// Creates a cache that keeps nothing in memory. Each request for a token leads to an exchange,
    /// or to a read of the [store](Self::with_store), which requests at the same time share.
    /// Refresh tokens of users are in the store only, so that without one a user must sign in for
    /// each resource.
    pub fn without_memory(context: &Context) -> Self {
        Self { is_memory_off: true, ..Self::new(0, context) }
    }

    /// Returns the cache for a client with this context: its requests are reported to the observer
    /// of the context, if there is one, and otherwise to that of the cache.
    pub fn for_context(mut self, context: &Context) -> Self {
        if context.observer().is_set() {
            self.observer = context.observer().clone();
            self.store = self.store.map(|store| store.observed_by(self.observer.clone()));
        }
        self
    }

    /// Returns the cache with a store behind it. Clones that were made before have no store.
    ///
    /// A token that is not in memory is read from the store before it is fetched, and a fetched
    /// token is written to the store, until it expires. A request with the claims of a challenge or
    /// with `force_refresh` does not read from the store, but writes to it. Refresh tokens are read
    /// from the store for every use, because another process may have received a newer one, and are
    /// stored for 90 days; a write does not replace a newer refresh token if the store supports
    /// preconditions. Tokens of managed identities and bound tokens are written only to a store
    /// that [is local to the machine](CacheStore::is_local_to_machine).
    ///
    /// A hit in memory does not use the store. A store that fails, or that takes longer than two
    /// seconds, is skipped.
    pub fn with_store(mut self, store: impl CacheStore) -> Self {
        self.store = Some(StoreClient::new(store, self.capacity, self.clock.clone(), self.observer.clone()));
        self
    }

    /// Returns the cache with a store of bound tokens behind it, which never receives a bearer
    /// token: a bound token is of use only with the private key of its certificate. Otherwise it is
    /// like [`with_store`](Self::with_store).
    pub fn with_bound_token_store(mut self, store: impl CacheStore) -> Self {
        let client = StoreClient::new(store, self.capacity, self.clock.clone(), self.observer.clone());
        self.store = Some(client.for_bound_tokens());
        self
    }

    /// Returns true if there is a store behind the cache.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Returns the number of access tokens, including expired ones that were not yet evicted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Returns `true` if there are no access tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Removes all tokens from memory, refresh tokens included. The store keeps its tokens.
    pub fn clear(&self) {
        self.leases.clear();
        self.refresh_tokens.clear();
    }

    /// Removes a token that a resource refused, so that the next request leads to a new one. A
    /// newer token in its place stays. Returns `true` if the token was in memory.
    ///
    /// From now on, this process ignores the token if it reads it from the store. On a Tokio
    /// runtime it is removed from the store in the background; otherwise the next token replaces
    /// it.
    pub fn invalidate(&self, token: &Token) -> bool {
        if let Some(store) = &self.store {
            store.refuse(token);
        }
        self.leases.remove_if(&token.key().borrowed(), |held| held.is(token))
    }

    /// Returns the token under a key, unless it has expired or is due for refresh. Never waits, and
    /// allocates nothing.
    #[must_use]
    pub fn find(&self, key: &CacheKey<'_>) -> Option<Token> {
        self.find_at(key, self.clock.steady_now())
    }

    /// Like [`find`](Self::find), at a time that the caller has already read from the clock.
    pub(crate) fn find_at(&self, key: &CacheKey<'_>, now: SteadyTime) -> Option<Token> {
        let found = self.leases.find_at(key, now)?;
        (!found.is_due).then(|| {
            let token = found.value.in_memory();
            events::served(&token);
            self.observer.emit(|| events::request(Ok(&token), key.is_bound, Duration::ZERO, &self.clock));
            token
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the reason why a request for this key leads to an exchange.
    pub(crate) fn refresh_reason(&self, key: &CacheKey<'_>) -> RefreshReason {
        if self.is_memory_off {
            return match self.store {
                Some(_) => RefreshReason::Missing,
                None => RefreshReason::CacheDisabled,
            };
        }
        match self.leases.find(key) {
            Some(_) => RefreshReason::Due,
            None if self.leases.contains_even_expired(key) => RefreshReason::Expired,
            None => RefreshReason::Missing,
        }
    }

    /// Returns true if a store holds all tokens.
    pub(crate) fn has_full_store(&self) -> bool {
        self.store.as_ref().is_some_and(|store| !store.is_for_bound_tokens())
    }

    /// Removes the tokens of a refused certificate, as far as they are in memory, from the store.
    pub(crate) fn forget_certificate(&self, certificate: Thumbprint) {
        let Some(store) = &self.store else { return };
        for (_, lease) in self.snapshot() {
            if lease.value().bound_to().is_some_and(|identity| identity.thumbprint() == certificate) {
                store.refuse(lease.value());
            }
        }
    }

    /// Returns the token under a key, unless it has expired. Never waits, and allocates nothing.
    #[must_use]
    pub fn find_even_if_due(&self, key: &CacheKey<'_>) -> Option<Token> {
        Some(self.leases.find(key)?.value.in_memory())
    }

    /// Returns the token under a key. Fetches it if it is missing, and renews it in the background
    /// if it is due for refresh.
    ///
    /// # Errors
    /// Those of the fetch, if the cache has no token to serve.
    pub async fn obtain<F, R>(&self, key: &CacheKey<'_>, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        self.obtain_within(key, self.refresh_reason(key), StoreClient::LONGEST_LOOKUP, fetch).await
    }

    /// Like [`obtain`](Self::obtain), for a known reason, with a limit for the time in the store
    /// before the fetch.
    pub(crate) async fn obtain_within<F, R>(
        &self,
        key: &CacheKey<'_>,
        reason: RefreshReason,
        limit: Duration,
        fetch: F,
    ) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let read = StoreRead::Allowed { identity: key.identity.cloned(), limit };
        let key: TokenKey = key.to_key();
        let load = || self.load(key.clone(), reason, read, fetch());
        let obtained = self.leases.obtain(&key, load).await;
        obtained.map(|obtained| served(obtained, reason)).inspect(|token| self.drop_if_off(token))
    }

    /// Fetches the token under a key without reading the cache, and replaces the cached one.
    /// Simultaneous fetches with the same key and `bypass_key` are one.
    ///
    /// # Errors
    /// Those of the fetch. A token in the cache stays.
    pub async fn renew<F, R>(&self, key: &CacheKey<'_>, bypass_key: &str, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        self.renew_for(key, RefreshReason::ForcedOrClaims, bypass_key, fetch).await
    }

    /// Like [`renew`](Self::renew), for another reason.
    pub(crate) async fn renew_for<F, R>(
        &self,
        key: &CacheKey<'_>,
        reason: RefreshReason,
        bypass_key: &str,
        fetch: F,
    ) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let key: TokenKey = key.to_key();
        let load = || self.load(key.clone(), reason, StoreRead::Skipped, fetch());
        let renewed = self.leases.renew(&key, bypass_key, load).await;
        renewed.map(|renewed| served(renewed, reason)).inspect(|token| self.drop_if_off(token))
    }

    /// Removes a token from memory if nothing stays there.
    fn drop_if_off(&self, token: &Token) {
        if self.is_memory_off {
            self.leases.remove_if(&token.key().borrowed(), |_| true);
        }
    }

    /// Returns the lease of a token in memory: one that has ended, if nothing stays there.
    fn in_memory(&self, lease: Lease<Token>) -> Lease<CachedToken> {
        let lease = lease.map(CachedToken::from);
        if self.is_memory_off { Lease::new(lease.value().clone(), SteadyTime::PAST) } else { lease }
    }

    /// Completes a request that was not answered by [`find`](Self::find): reports its end to the
    /// observer, and returns its result with its duration.
    ///
    /// # Errors
    /// The error of the result.
    pub fn complete(
        &self,
        started: SteadyTime,
        is_bound: bool,
        result: Result<Token, Error>,
    ) -> Result<Token, Error> {
        let duration = self.clock.steady_now().since(started);
        self.observer.emit(|| events::request(result.as_ref(), is_bound, duration, &self.clock));
        let result =
            result.map_err(|error| error.with_metadata(|metadata| metadata.total_duration = duration));
        result.map(|token| {
            let delivery = token.delivery().with_total(duration);
            token.with_delivery(delivery)
        })
    }

    /// Puts a token into memory.
    pub(crate) fn insert(&self, lease: Lease<Token>) {
        if self.is_memory_off {
            return;
        }
        self.leases.insert(lease.value().key().clone(), lease.map(CachedToken::from));
    }

    /// Returns the tokens in memory.
    pub(crate) fn snapshot(&self) -> Vec<(TokenKey, Lease<Token>)> {
        let all = self.leases.snapshot().into_iter();
        all.map(|(key, lease)| (key, lease.map(CachedToken::in_memory))).collect()
    }

    /// Returns the clock that deadlines are compared with.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub(crate) fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Reads the token from the store, or fetches it and writes it to the store.
    fn load<R>(
        &self,
        requested: TokenKey,
        reason: RefreshReason,
        read: StoreRead,
        fetch: R,
    ) -> impl Future<Output = Result<Loaded<TokenKey, CachedToken>, Error>> + Send + 'static + use<R>
    where
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let cache = self.clone();
        async move {
            // Held until the token is in the store.
            let mut lock = None;
            let started = cache.clock.steady_now();
            if let (Some(store), StoreRead::Allowed { identity, limit }) = (&cache.store, &read) {
                let held = || cache.find_even_if_due(&requested.borrowed());
                match store.token_or_lock(&requested, identity.as_ref(), held, *limit).await {
                    Lookup::Found(stored) => {
                        let now = cache.clock.read();
                        let delivery = Delivery::STORE.with_time_in_store(now.steady.since(started));
                        let lease = stored.into_lease(requested, delivery, now, &cache.jitter);
                        return Ok(Loaded::new(cache.in_memory(lease)));
                    }
                    Lookup::Missing(acquired) => lock = acquired,
                }
            }
            let renewal = cache.leases.find(&requested).is_some();
            let span = events::fetch(&requested.borrowed(), renewal);
            let is_bound = requested.borrowed().is_bound;
            let began = cache.clock.steady_now();
            let fetch = async {
                let outcome = fetch.await;
                let took = cache.clock.steady_now().since(began);
                events::fetched(&outcome, took);
                cache.observer.emit(|| events::token_fetch(&outcome, is_bound, reason, took));
                outcome
            };
            let fetched = fetch.instrument(span).await;
            let mut fetched = fetched.map_err(|error| {
                error.with_metadata(|metadata| {
                    metadata.refresh_reason = reason;
                    metadata.cache_duration = began.since(started);
                })
            })?;
            let actual = fetched.key.take().filter(|actual| *actual != requested);
            let key = actual.clone().unwrap_or(requested);
            let now = cache.clock.read();
            let mut lease = fetched.into_lease(key, Delivery::fetched(reason), now, &cache.jitter);
            if let Some(store) = &cache.store {
                let lock = lock.as_ref().filter(|_| actual.is_none());
                store.keep_token(lease.value(), lock).await;
                let after_fetch = cache.clock.steady_now().since(now.steady);
                let in_store = began.since(started) + after_fetch;
                lease = lease.map(|token| {
                    let delivery = token.delivery().with_time_in_store(in_store);
                    token.with_delivery(delivery)
                });
            }
            drop(lock);
            let lease = cache.in_memory(lease);
            Ok(match actual {
                None => Loaded::new(lease),
                Some(actual) => Loaded::with_key(lease, actual),
            })
        }
    }
}

/// Permission to read a token from the store.
enum StoreRead {
    Allowed {
        /// The certificate of a bound token.
        identity: Option<ClientIdentity>,
        limit: Duration,
    },
    Skipped,
}

/// Returns the token of a request that was made for this reason.
fn served(obtained: Obtained<CachedToken>, reason: RefreshReason) -> Token {
    let Obtained { value, origin, .. } = obtained;
    let token = match origin {
        Origin::Cache => {
            let is_renewed = reason == RefreshReason::Due;
            let refresh_reason = if is_renewed { reason } else { RefreshReason::NotApplicable };
            value.in_memory().with_delivery(Delivery { refresh_reason, ..Delivery::MEMORY })
        }
        _ => {
            let token = value.loaded(reason);
            let delivery = token.delivery();
            let is_joined = origin == Origin::Joined && delivery.cache_level.is_none();
            let origin = if is_joined { TokenOrigin::Joined } else { delivery.origin };
            token.with_delivery(Delivery { origin, ..delivery })
        }
    };
    events::served(&token);
    token
}
