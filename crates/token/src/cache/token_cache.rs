//! The one cache.

use std::time::SystemTime;

use symbolon_lease::{Lease, LeaseCache, LeaseKey, Loaded, Obtained, Origin};
use symbolon_types::{ClientIdentity, Context, Error, Jitter, SharedClock};
use tracing::Instrument as _;

use super::events;
use crate::oauth::FetchReason;
use crate::store::{CacheStore, StoreClient};
use crate::token::{CacheKey, DatedRefreshToken, IssuedToken, Token, TokenKey, TokenSource};

/// Tokens under everything that makes them differ; clones share the tokens.
///
/// Bounded in entries; when full, expired tokens go first, then the one that expires next. A token
/// is served until shortly before it expires, and renewed before that in the background; a renewal
/// that fails keeps it. Misses of one key share one fetch; other keys never wait for it. Refresh
/// tokens are kept beside, under their user, within the same bound.
///
/// There may be a [`CacheStore`] behind it, which other processes share
/// ([`with_store`](Self::with_store)).
#[derive(Clone, Debug)]
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
    #[must_use]
    pub fn new(capacity: usize, context: &Context) -> Self {
        let (clock, jitter) = (context.clock().clone(), context.jitter().clone());
        let leases = LeaseCache::new(capacity, clock.clone());
        let refresh_tokens = LeaseCache::new(capacity, clock.clone());
        Self { leases, refresh_tokens, store: None, capacity, clock, jitter }
    }

    /// The same cache with a store behind it; clones that were made before are without.
    ///
    /// A token that is not in memory is looked for in the store before it is fetched, and what was
    /// fetched is put there until it expires. A token that is asked for with the claims of a challenge,
    /// or with `force_refresh`, is not looked for, but put. Refresh tokens are read from the store
    /// whenever one is needed, because another process may have got a newer one, and a write never
    /// replaces one that was issued later, as far as the store can compare. They are kept for 90
    /// days. Tokens of managed identities, and tokens that are bound to a certificate, go only into
    /// a store that [is local to the machine](CacheStore::is_local_to_machine).
    ///
    /// A hit in memory does not involve the store. A store that fails, or that takes longer than two
    /// seconds, is as good as none.
    #[must_use]
    pub fn with_store(mut self, store: impl CacheStore) -> Self {
        self.store = Some(StoreClient::new(store, self.capacity, self.clock.clone()));
        self
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

    /// Forgets every token, refresh tokens included. What is in the store behind it stays there.
    pub fn clear(&self) {
        self.leases.clear();
        self.refresh_tokens.clear();
    }

    /// Forgets a token that a resource refused, so that the next request gets another. A newer
    /// token in its place stays. Tells whether it was there.
    ///
    /// This process takes it from the store no more from now on. It is removed there in the background
    /// of the current Tokio runtime; where there is none, the next token replaces it.
    pub fn invalidate(&self, token: &Token) -> bool {
        if let Some(store) = &self.store {
            store.refuse(token);
        }
        self.leases.remove_if(&token.key().borrowed(), |held| held.is_same(token))
    }

    /// The token under a key, unless it has ended or should be renewed now. Never waits, and
    /// allocates nothing.
    #[must_use]
    pub fn find(&self, key: &CacheKey<'_>) -> Option<Token> {
        self.find_at(key, self.clock.now())
    }

    /// The same at a time that was read off this cache's clock before.
    pub(crate) fn find_at(&self, key: &CacheKey<'_>, now: SystemTime) -> Option<Token> {
        let found = self.leases.find_at(key, now)?;
        (!found.is_due).then(|| {
            let token = found.value.from(TokenSource::Cache);
            events::served(&token);
            token
        })
    }

    /// Returns the reason why a request for this key leads to an exchange.
    pub(crate) fn fetch_reason(&self, key: &CacheKey<'_>) -> FetchReason {
        match self.leases.find(key) {
            Some(_) => FetchReason::Due,
            None if self.leases.contains_even_expired(key) => FetchReason::Expired,
            None => FetchReason::Missing,
        }
    }

    pub(crate) fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// The token under a key, unless it has ended, also if it should be renewed now. Never waits, and
    /// allocates nothing.
    #[must_use]
    pub fn find_even_if_due(&self, key: &CacheKey<'_>) -> Option<Token> {
        Some(self.leases.find(key)?.value.from(TokenSource::Cache))
    }

    /// The token under a key, fetched if there is none, renewed in the background if it is time.
    ///
    /// # Errors
    /// Those of the fetch, if there is no token to serve.
    pub async fn obtain<F, R>(&self, key: &CacheKey<'_>, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let stored = Stored::WillDo(key.identity.cloned());
        let key: TokenKey = key.to_key();
        self.leases.obtain(&key, || self.load(key.clone(), stored, fetch())).await.map(served)
    }

    /// The token under a key as it is fetched now, whatever is in the cache. Fetches that ask for
    /// the same `variant` at the same time are one.
    ///
    /// # Errors
    /// Those of the fetch. A token in the cache stays.
    pub async fn renew<F, R>(&self, key: &CacheKey<'_>, variant: &str, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let key: TokenKey = key.to_key();
        let load = || self.load(key.clone(), Stored::WillNotDo, fetch());
        self.leases.renew(&key, variant, load).await.map(served)
    }

    /// Puts a token into memory.
    pub(crate) fn insert(&self, token: Token, served_until: SystemTime) {
        self.leases.insert(token.key().clone(), lease(token, served_until));
    }

    /// Every token in memory.
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

    /// Looks in the store, if what is there will do; then fetches, and puts the token there.
    fn load<R>(
        &self,
        asked: TokenKey,
        stored: Stored,
        fetch: R,
    ) -> impl Future<Output = Result<Loaded<TokenKey, Token>, Error>> + Send + 'static + use<R>
    where
        R: Future<Output = Result<IssuedToken, Error>> + Send + 'static,
    {
        let cache = self.clone();
        async move {
            if let (Some(store), Stored::WillDo(identity)) = (&cache.store, &stored) {
                let held = || cache.find_even_if_due(&asked.borrowed());
                if let Some(stored) = store.token(&asked, identity.as_ref(), held).await {
                    let (token, served_until) = stored.issued(asked, cache.clock.now(), &cache.jitter);
                    return Ok(Loaded::new(lease(token.from(TokenSource::Cache), served_until)));
                }
            }
            let renewal = cache.leases.find(&asked).is_some();
            let span = events::fetch(&asked.borrowed(), renewal);
            let fetch = async {
                let began = cache.clock.now();
                let outcome = fetch.await;
                let took = cache.clock.now().duration_since(began).unwrap_or_default();
                events::fetched(&outcome, took);
                outcome
            };
            let mut fetched = fetch.instrument(span).await?;
            let actual = fetched.key.take().filter(|actual| *actual != asked);
            let key = actual.clone().unwrap_or(asked);
            let (token, served_until) = fetched.issued(key, cache.clock.now(), &cache.jitter);
            if let Some(store) = &cache.store {
                store.keep_token(&token).await;
            }
            let lease = lease(token, served_until);
            Ok(match actual {
                None => Loaded::new(lease),
                Some(actual) => Loaded::with_key(lease, actual),
            })
        }
    }
}

/// Use of the store: tokens are read, bound ones with this certificate, or ignored.
enum Stored {
    WillDo(Option<ClientIdentity>),
    WillNotDo,
}

fn lease(token: Token, served_until: SystemTime) -> Lease<Token> {
    let refresh_on = token.refresh_on();
    Lease::new(token, served_until).with_refresh_at(Some(refresh_on))
}

fn served(obtained: Obtained<Token>) -> Token {
    let is_from_store = obtained.value.source() == TokenSource::Cache;
    let token = obtained.value.from(match obtained.origin {
        _ if is_from_store => TokenSource::Cache,
        Origin::Cache => TokenSource::Cache,
        Origin::Joined => TokenSource::Joined,
        _ => TokenSource::Network,
    });
    events::served(&token);
    token
}
