//! The store behind a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache};
use symbolon_transport::timeout;
use symbolon_types::{ClientIdentity, Error, Secret, SharedClock, Thumbprint};
use tracing::debug;

use super::cache_store::{CacheStore, ErasedStore, Precondition, PutOutcome};
use super::entry::{StoredToken, decode_refresh_token, decode_token, encode_refresh_token, encode_token};
use super::store_key::{EntryKind, store_key};
use crate::token::{CacheKey, DatedRefreshToken, IssuedToken, Token, TokenKey};

/// A request waits at most this long for a store: it can get its token without.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a refresh token is kept that nobody uses: Entra's end after 90 days without use.
/// (Microsoft identity platform, "Refresh tokens": lifetime.)
const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How often a write is tried that others come before.
const TRIES: usize = 5;

/// The store behind a cache: which entries go there, under which keys, and for how long.
///
/// Nothing here fails: what the store cannot do is logged, and the cache works without.
#[derive(Clone)]
pub(crate) struct StoreClient {
    store: Arc<dyn ErasedStore>,
    /// Tokens that a resource refused. The store may still have them, or be given them again.
    refused: LeaseCache<TokenKey, Thumbprint>,
    clock: SharedClock,
}

impl StoreClient {
    pub(crate) fn new(store: impl CacheStore, capacity: usize, clock: SharedClock) -> Self {
        Self { store: Arc::new(store), refused: LeaseCache::new(capacity, clock.clone()), clock }
    }

    /// The token under a key, for a request that already has `held`, which is due, or nothing.
    pub(crate) async fn token(
        &self,
        key: &TokenKey,
        identity: Option<&ClientIdentity>,
        held: impl FnOnce() -> Option<Token>,
    ) -> Option<IssuedToken> {
        let stored = self.read(key, identity).await?;
        let is_refused =
            self.refused.find(key).is_some_and(|refused| refused.value == digest(&stored.secret));
        // Who has a token that is due wants another one, which is not.
        let is_new = |held: Token| !stored.is_due && held.secret().expose() != stored.secret.expose();
        (!is_refused && held().is_none_or(is_new)).then_some(stored.fetched)
    }

    async fn read(&self, key: &TokenKey, identity: Option<&ClientIdentity>) -> Option<StoredToken> {
        let key = &key.borrowed();
        if !self.takes(key) {
            return None;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let entry = self.bounded("read a token", self.store.get_erased(&store_key)).await??;
        let stored = decode_token(entry.bytes(), &store_key, key, identity, self.clock.now());
        if stored.is_none() {
            debug!("the store holds an entry that is of no use");
        }
        stored
    }

    pub(crate) async fn keep_token(&self, token: &Token) {
        let key = &token.key().borrowed();
        let Ok(ttl) = token.expires_on().duration_since(self.clock.now()) else { return };
        if !self.takes(key) {
            return;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let Some(entry) = encode_token(&store_key, token) else { return };
        let put = self.store.put_erased(&store_key, &entry, ttl, Precondition::None);
        self.bounded("keep a token", put).await;
    }

    /// Sees to it that a token that was refused does not come back from the store.
    pub(crate) fn refuse(&self, token: &Token) {
        let lease = Lease::new(digest(token.secret()), token.expires_on());
        self.refused.insert(token.key().clone(), lease);
        let (backing, token) = (self.clone(), token.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { backing.remove_token(&token).await }));
        }
    }

    async fn remove_token(&self, token: &Token) {
        let key = &token.key().borrowed();
        if !self.takes(key) {
            return;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let removal = async {
            let Some(entry) = self.store.get_erased(&store_key).await? else { return Ok(()) };
            let stored = decode_token(entry.bytes(), &store_key, key, token.bound_to(), self.clock.now());
            if stored.is_some_and(|stored| stored.secret.expose() == token.secret().expose()) {
                // On a conflict there is a newer token, which stays.
                self.store.remove_erased(&store_key, Precondition::still(Some(&entry))).await?;
            }
            Ok(())
        };
        self.bounded("remove a token", removal).await;
    }

    pub(crate) async fn refresh_token(&self, key: &TokenKey) -> Option<DatedRefreshToken> {
        let key = &key.borrowed();
        if !self.takes(key) {
            return None;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let entry = self.bounded("read a refresh token", self.store.get_erased(&store_key)).await??;
        decode_refresh_token(entry.bytes(), &store_key)
    }

    /// Keeps a refresh token, unless the store has one that was issued later: returns that one.
    pub(crate) async fn keep_refresh_token(
        &self,
        key: &TokenKey,
        dated: &DatedRefreshToken,
    ) -> Option<DatedRefreshToken> {
        let key = &key.borrowed();
        if !self.takes(key) {
            return None;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let bytes = encode_refresh_token(&store_key, dated)?;
        let exchange = async {
            for _ in 0..TRIES {
                let there = self.store.get_erased(&store_key).await?;
                let newer = there
                    .as_ref()
                    .and_then(|entry| decode_refresh_token(entry.bytes(), &store_key))
                    .filter(|there| there.issued_at > dated.issued_at);
                if newer.is_some() {
                    return Ok(newer);
                }
                let still = Precondition::still(there.as_ref());
                let put = self.store.put_erased(&store_key, &bytes, REFRESH_TOKEN_TTL, still).await?;
                if put == PutOutcome::Done {
                    return Ok(None);
                }
            }
            debug!("others kept coming before a refresh token on its way to the store");
            Ok(None)
        };
        self.bounded("keep a refresh token", exchange).await?
    }

    /// Removes a refresh token, only this one if one is named, and tells whether it was there.
    pub(crate) async fn forget_refresh_token(&self, key: &TokenKey, only: Option<&Secret>) -> bool {
        let key = &key.borrowed();
        if !self.takes(key) {
            return false;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let removal = async {
            for _ in 0..TRIES {
                let Some(entry) = self.store.get_erased(&store_key).await? else { return Ok(false) };
                let stored = decode_refresh_token(entry.bytes(), &store_key);
                let is_meant = |stored: &DatedRefreshToken| {
                    only.is_none_or(|only| only.expose() == stored.token.secret.expose())
                };
                if !stored.as_ref().is_none_or(is_meant) {
                    return Ok(false);
                }
                let still = Precondition::still(Some(&entry));
                if self.store.remove_erased(&store_key, still).await? == PutOutcome::Done {
                    return Ok(stored.is_some());
                }
            }
            debug!("others kept coming before the removal of a refresh token from the store");
            Ok(false)
        };
        self.bounded("forget a refresh token", removal).await.unwrap_or(false)
    }

    /// What is of use on this machine only goes into no store that others read.
    fn takes(&self, key: &CacheKey<'_>) -> bool {
        let is_for_this_machine = key.is_bound || key.partition.is_machine_bound();
        !is_for_this_machine || self.store.is_local_to_machine_erased()
    }

    async fn bounded<T>(
        &self,
        purpose: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        match timeout(&self.clock, LIMIT, operation).await {
            Some(Ok(output)) => Some(output),
            Some(Err(error)) => {
                debug!(purpose, code = error.code(), "the store failed");
                None
            }
            None => {
                debug!(purpose, "the store took too long");
                None
            }
        }
    }
}

fn digest(secret: &Secret) -> Thumbprint {
    Thumbprint::of(secret.expose().as_bytes())
}

impl fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClient").field("store", &self.store).finish_non_exhaustive()
    }
}
