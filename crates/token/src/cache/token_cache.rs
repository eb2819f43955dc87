//! The token cache.

use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache, LeaseKey, Loaded, Obtained, Origin};
use symbolon_types::{ClientIdentity, Context, Error, Jitter, SharedClock, SteadyTime, Thumbprint};
use tracing::Instrument as _;

use super::events;
use crate::oauth::FetchReason;
use crate::store::{CacheStore, Lookup, StoreClient};
use crate::token::{CacheKey, DatedRefreshToken, IssuedToken, Token, TokenKey, TokenOrigin};

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
    leases: LeaseCache<TokenKey, Token>,
    pub(super) refresh_tokens: LeaseCache<TokenKey, DatedRefreshToken>,
    pub(super) store: Option<StoreClient>,
    capacity: usize,
    pub(super) clock: SharedClock,
    jitter: Jitter,
}

impl TokenCache {
    /// Default capacity in tokens: 18 MB at 1.8 kB for each.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// Creates an empty cache of at most `capacity` tokens, with the clock and the randomness of
    /// `context`.
    pub fn new(capacity: usize, context: &Context) -> Self {
        let (clock, jitter) = (context.clock().clone(), context.jitter().clone());
        let leases = LeaseCache::new(capacity, clock.clone());
        let refresh_tokens = LeaseCache::new(capacity, clock.clone());
        Self { leases, refresh_tokens, store: None, capacity, clock, jitter }
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
        self.store = Some(StoreClient::new(store, self.capacity, self.clock.clone()));
        self
    }

    /// Returns the cache with a store of bound tokens behind it, which never receives a bearer
    /// token: a bound token is of use only with the private key of its certificate. Otherwise it is
    /// like [`with_store`](Self::with_store).
    pub fn with_bound_token_store(mut self, store: impl CacheStore) -> Self {
        let client = StoreClient::new(store, self.capacity, self.clock.clone());
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
        self.leases.remove_if(&token.key().borrowed(), |held| held.is_same(token))
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
            let token = found.value.from(TokenOrigin::Cache);
            events::served(&token);
            token
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the reason why a request for this key leads to an exchange.
    pub(crate) fn fetch_reason(&self, key: &CacheKey<'_>) -> FetchReason {
        match self.leases.find(key) {
            Some(_) => FetchReason::Due,
            None if self.leases.contains_even_expired(key) => FetchReason::Expired,
            None => FetchReason::Missing,
        }
    }

    /// Returns true if a store holds all tokens.
    pub(crate) fn has_full_store(&self) -> bool {
        self.store.as_ref().is_some_and(|store| !store.is_for_bound_tokens())
    }

    /// Removes the tokens of a refused certificate, as far as they are in memory, from the store.
    pub(crate) fn forget_certificate(&self, certificate: Thumbprint) {
        let Some(store) = &self.store else { return };
        for (_, lease) in self.leases.snapshot() {
            if lease.value().bound_to().is_some_and(|identity| identity.thumbprint() == certificate) {
                store.refuse(lease.value());
            }
        }
    }

    /// Returns the token under a key, unless it has expired. Never waits, and allocates nothing.
    #[must_use]
    pub fn find_even_if_due(&self, key: &CacheKey<'_>) -> Option<Token> {
        Some(self.leases.find(key)?.value.from(TokenOrigin::Cache))
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
        self.obtain_within(key, StoreClient::LONGEST_LOOKUP, fetch).await
    }

    /// Like [`obtain`](Self::obtain), with a limit for the time in the store before the fetch.
    pub(crate) async fn obtain_within<F, R>(
        &self,
        key: &CacheKey<'_>,
        limit: Duration,
        fetch: F,
    ) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let read = StoreRead::Allowed { identity: key.identity.cloned(), limit };
        let key: TokenKey = key.to_key();
        self.leases.obtain(&key, || self.load(key.clone(), read, fetch())).await.map(served)
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
        let key: TokenKey = key.to_key();
        let load = || self.load(key.clone(), StoreRead::Skipped, fetch());
        self.leases.renew(&key, bypass_key, load).await.map(served)
    }

    /// Puts a token into memory.
    pub(crate) fn insert(&self, lease: Lease<Token>) {
        self.leases.insert(lease.value().key().clone(), lease);
    }

    /// Returns the tokens in memory.
    pub(crate) fn snapshot(&self) -> Vec<(TokenKey, Lease<Token>)> {
        self.leases.snapshot()
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
        read: StoreRead,
        fetch: R,
    ) -> impl Future<Output = Result<Loaded<TokenKey, Token>, Error>> + Send + 'static + use<R>
    where
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let cache = self.clone();
        async move {
            // Held until the token is in the store.
            let mut lock = None;
            if let (Some(store), StoreRead::Allowed { identity, limit }) = (&cache.store, &read) {
                let held = || cache.find_even_if_due(&requested.borrowed());
                match store.token_or_lock(&requested, identity.as_ref(), held, *limit).await {
                    Lookup::Found(stored) => {
                        let now = cache.clock.read();
                        let lease = stored.into_lease(requested, TokenOrigin::Cache, now, &cache.jitter);
                        return Ok(Loaded::new(lease));
                    }
                    Lookup::Missing(acquired) => lock = acquired,
                }
            }
            let renewal = cache.leases.find(&requested).is_some();
            let span = events::fetch(&requested.borrowed(), renewal);
            let fetch = async {
                let began = cache.clock.steady_now();
                let outcome = fetch.await;
                events::fetched(&outcome, cache.clock.steady_now().since(began));
                outcome
            };
            let mut fetched = fetch.instrument(span).await?;
            let actual = fetched.key.take().filter(|actual| *actual != requested);
            let key = actual.clone().unwrap_or(requested);
            let lease = fetched.into_lease(key, TokenOrigin::Network, cache.clock.read(), &cache.jitter);
            if let Some(store) = &cache.store {
                let lock = lock.as_ref().filter(|_| actual.is_none());
                store.keep_token(lease.value(), lock).await;
            }
            drop(lock);
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

fn served(obtained: Obtained<Token>) -> Token {
    let is_from_store = obtained.value.origin() == TokenOrigin::Cache;
    let token = obtained.value.from(match obtained.origin {
        _ if is_from_store => TokenOrigin::Cache,
        Origin::Cache => TokenOrigin::Cache,
        Origin::Joined => TokenOrigin::Joined,
        _ => TokenOrigin::Network,
    });
    events::served(&token);
    token
}
