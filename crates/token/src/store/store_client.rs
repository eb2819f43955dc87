//! The client of a token store.

use std::sync::Arc;
use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache};
use symbolon_transport::timeout;
use symbolon_types::{
    ClientIdentity, Error, Event, Secret, SharedClock, SharedObserver, StoreEvent, StoreOperation,
    Thumbprint, catch_panic_of,
};
use tracing::debug;

use super::cache_store::{CacheStore, ErasedStore, LockOutcome, Precondition, PutOutcome, StoreLock};
use super::entry::{
    MAX_AHEAD, StoredToken, decode_refresh_token, decode_token, encode_refresh_token, encode_token,
};
use super::store_key::{EntryKind, store_key};
use crate::token::{CacheKey, DatedRefreshToken, IssuedToken, Token, TokenKey};

/// The timeout of a call to the store. A request can get its token without the store.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum time to wait for a lock. An exchange takes seconds; a process that is stopped must
/// not use up the time of the others.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for which an unused refresh token is kept. Entra's expire after 90 days without use
/// (Microsoft identity platform, "Refresh tokens").
const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The maximum number of attempts of a conditional write that loses to other writers.
const MAX_ATTEMPTS: usize = 5;

/// The result of a search for a token in the store.
pub(crate) enum Lookup {
    Found(IssuedToken),
    /// No token that the caller can use. The lock keeps other processes from requesting it.
    Missing(Option<StoreLock>),
}

/// The client of a [`CacheStore`], which selects the entries, keys and times to live.
///
/// No method returns an error: a failure of the store is logged, and the cache works without the
/// store.
#[derive(Clone)]
pub(crate) struct StoreClient {
    store: Arc<dyn ErasedStore>,
    /// True if the store holds bound tokens only.
    is_for_bound_tokens: bool,
    /// Digests of tokens that a resource refused, which the store may still have or receive again.
    refused: LeaseCache<TokenKey, Thumbprint>,
    clock: SharedClock,
    observer: SharedObserver,
}

impl StoreClient {
    /// The longest search for a token: two reads, and the lock between them.
    pub(crate) const LONGEST_LOOKUP: Duration = TIMEOUT.saturating_mul(2).saturating_add(LOCK_TIMEOUT);

    pub(crate) fn new(
        store: impl CacheStore,
        capacity: usize,
        clock: SharedClock,
        observer: SharedObserver,
    ) -> Self {
        let refused = LeaseCache::new(capacity, clock.clone());
        Self { store: Arc::new(store), is_for_bound_tokens: false, refused, clock, observer }
    }

    /// Returns a client that reports its calls to another observer.
    pub(crate) fn observed_by(mut self, observer: SharedObserver) -> Self {
        self.observer = observer;
        self
    }

    /// Returns a client that uses the store for bound tokens only.
    pub(crate) fn for_bound_tokens(mut self) -> Self {
        self.is_for_bound_tokens = true;
        self
    }

    pub(crate) fn is_for_bound_tokens(&self) -> bool {
        self.is_for_bound_tokens
    }

    /// Returns the stored token for `key`, or the lock under which the caller requests one, if the
    /// store has locks. The caller's own token `held`, if it has one, is due for refresh.
    pub(crate) async fn token_or_lock(
        &self,
        key: &TokenKey,
        identity: Option<&ClientIdentity>,
        held: impl Fn() -> Option<Token>,
        limit: Duration,
    ) -> Lookup {
        let lookup = async {
            let (stored, version) = self.token(key, identity, &held).await;
            if let Some(stored) = stored {
                return Lookup::Found(stored);
            }
            // Of several processes, one requests the token, and the others find it.
            let lock = match self.lock(key, version.as_deref()).await {
                LockOutcome::Acquired(lock) => Some(lock),
                LockOutcome::Changed => None,
                LockOutcome::Unsupported => return Lookup::Missing(None),
            };
            self.token(key, identity, &held).await.0.map_or(Lookup::Missing(lock), Lookup::Found)
        };
        timeout(&self.clock, limit, lookup).await.unwrap_or(Lookup::Missing(None))
    }

    async fn lock(&self, key: &TokenKey, read: Option<&str>) -> LockOutcome {
        let key = &key.borrowed();
        if !self.accepts(key) {
            return LockOutcome::Unsupported;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let lock = self.store.lock_erased(&store_key, read);
        self.call_within(LOCK_TIMEOUT, StoreOperation::Lock, "lock a token", lock)
            .await
            .unwrap_or(LockOutcome::Unsupported)
    }

    /// Returns the stored token for `key` if it helps a caller that has `held`, and the version of
    /// its entry in any case.
    async fn token(
        &self,
        key: &TokenKey,
        identity: Option<&ClientIdentity>,
        held: impl FnOnce() -> Option<Token>,
    ) -> (Option<IssuedToken>, Option<String>) {
        let (stored, version) = self.read(key, identity).await;
        let Some(stored) = stored else { return (None, version) };
        let is_refused =
            self.refused.find(key).is_some_and(|refused| refused.value == digest(&stored.secret));
        // If the caller's token is due for refresh, a stored token that is also due does not help.
        let is_new = |held: Token| !stored.is_due && held.secret().expose() != stored.secret.expose();
        ((!is_refused && held().is_none_or(is_new)).then_some(stored.fetched), version)
    }

    async fn read(
        &self,
        key: &TokenKey,
        identity: Option<&ClientIdentity>,
    ) -> (Option<StoredToken>, Option<String>) {
        let key = &key.borrowed();
        if !self.accepts(key) {
            return (None, None);
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let read = self.call(StoreOperation::Read, "read a token", self.store.get_erased(&store_key)).await;
        let Some(entry) = read.flatten() else { return (None, None) };
        let stored = decode_token(entry.bytes(), &store_key, key, identity, self.clock.now());
        if stored.is_none() {
            debug!("ignored an unusable entry of the token store");
        }
        (stored, entry.version)
    }

    /// Stores a token, under the lock if the caller holds one.
    pub(crate) async fn keep_token(&self, token: &Token, lock: Option<&StoreLock>) {
        let key = &token.key().borrowed();
        let now = self.clock.now();
        let Ok(ttl) = token.expires_on().duration_since(now) else { return };
        if !self.accepts(key) {
            return;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let Some(entry) = encode_token(&store_key, token, now) else { return };
        let precondition = lock.map_or(Precondition::None, Precondition::Locked);
        let put = self.store.put_erased(&store_key, &entry, ttl, precondition);
        if self.call(StoreOperation::Write, "keep a token", put).await == Some(PutOutcome::Conflict) {
            debug!("another process has acquired the lock of a token meanwhile; the token is not stored");
        }
    }

    /// Ensures that a token which a resource refused is not read from the store again.
    pub(crate) fn refuse(&self, token: &Token) {
        let until = self.clock.read().steady_at(token.expires_on());
        let lease = Lease::new(digest(token.secret()), until);
        self.refused.insert(token.key().clone(), lease);
        let (client, token) = (self.clone(), token.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { client.remove_token(&token).await }));
        }
    }

    async fn remove_token(&self, token: &Token) {
        let key = &token.key().borrowed();
        if !self.accepts(key) {
            return;
        }
        let store_key = store_key(EntryKind::AccessToken, key);
        let removal = async {
            let Some(entry) = self.store.get_erased(&store_key).await? else { return Ok(()) };
            let stored = decode_token(entry.bytes(), &store_key, key, token.bound_to(), self.clock.now());
            if stored.is_some_and(|stored| stored.secret.expose() == token.secret().expose()) {
                // A conflict means that another process has stored a newer token.
                self.store.remove_erased(&store_key, Precondition::unchanged_since(Some(&entry))).await?;
            }
            Ok(())
        };
        self.call(StoreOperation::Remove, "remove a token", removal).await;
    }

    pub(crate) async fn refresh_token(&self, key: &TokenKey) -> Option<DatedRefreshToken> {
        let key = &key.borrowed();
        if !self.accepts(key) {
            return None;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let entry = self
            .call(StoreOperation::Read, "read a refresh token", self.store.get_erased(&store_key))
            .await??;
        let mut dated = decode_refresh_token(entry.bytes(), &store_key)?;
        if self.is_ahead(&dated) {
            dated.issued_at = self.clock.now();
        }
        Some(dated)
    }

    /// Returns true if the clock of the process that received the token is ahead.
    fn is_ahead(&self, dated: &DatedRefreshToken) -> bool {
        dated.issued_at > self.clock.now() + MAX_AHEAD
    }

    /// Stores a refresh token, unless the store has one that was issued later, which is returned. A
    /// time in the future, by a clock that is ahead, is not later.
    pub(crate) async fn keep_refresh_token(
        &self,
        key: &TokenKey,
        dated: &DatedRefreshToken,
    ) -> Option<DatedRefreshToken> {
        let key = &key.borrowed();
        if !self.accepts(key) {
            return None;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let bytes = encode_refresh_token(&store_key, dated)?;
        let exchange = async {
            for _ in 0..MAX_ATTEMPTS {
                let current = self.store.get_erased(&store_key).await?;
                let newer = current
                    .as_ref()
                    .and_then(|entry| decode_refresh_token(entry.bytes(), &store_key))
                    .filter(|current| current.issued_at > dated.issued_at && !self.is_ahead(current));
                if newer.is_some() {
                    return Ok(newer);
                }
                let precondition = Precondition::unchanged_since(current.as_ref());
                let put = self.store.put_erased(&store_key, &bytes, REFRESH_TOKEN_TTL, precondition).await?;
                if put == PutOutcome::Done {
                    return Ok(None);
                }
            }
            debug!("could not store a refresh token because of concurrent writes");
            Ok(None)
        };
        self.call(StoreOperation::Write, "keep a refresh token", exchange).await?
    }

    /// Removes the refresh token of `key`, or only the token `only`, and returns whether it
    /// existed.
    pub(crate) async fn forget_refresh_token(&self, key: &TokenKey, only: Option<&Secret>) -> bool {
        let key = &key.borrowed();
        if !self.accepts(key) {
            return false;
        }
        let store_key = store_key(EntryKind::RefreshToken, key);
        let removal = async {
            for _ in 0..MAX_ATTEMPTS {
                let Some(entry) = self.store.get_erased(&store_key).await? else { return Ok(false) };
                let stored = decode_refresh_token(entry.bytes(), &store_key);
                let is_meant = |stored: &DatedRefreshToken| {
                    only.is_none_or(|only| only.expose() == stored.token.secret.expose())
                };
                if !stored.as_ref().is_none_or(is_meant) {
                    return Ok(false);
                }
                let precondition = Precondition::unchanged_since(Some(&entry));
                if self.store.remove_erased(&store_key, precondition).await? == PutOutcome::Done {
                    return Ok(stored.is_some());
                }
            }
            debug!("could not remove a refresh token because of concurrent writes");
            Ok(false)
        };
        self.call(StoreOperation::Remove, "forget a refresh token", removal).await.unwrap_or(false)
    }

    /// Returns whether the store may have tokens of `key`. Those that only this machine can use
    /// require a store that only this machine can read.
    fn accepts(&self, key: &CacheKey<'_>) -> bool {
        let is_for_this_machine = key.is_bound || key.partition.is_machine_bound();
        if self.is_for_bound_tokens && !key.is_bound {
            return false;
        }
        !is_for_this_machine || self.store.is_local_to_machine_erased()
    }

    async fn call<T>(
        &self,
        operation: StoreOperation,
        purpose: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        self.call_within(TIMEOUT, operation, purpose, call).await
    }

    async fn call_within<T>(
        &self,
        limit: Duration,
        operation: StoreOperation,
        purpose: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        let call = catch_panic_of("the token store", || call);
        let started = self.clock.steady_now();
        let result = timeout(&self.clock, limit, call).await.map(|output| output.unwrap_or_else(Err));
        self.observer.emit(|| {
            let result = match &result {
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error.error_type()),
                None => Err("timeout"),
            };
            let duration = self.clock.steady_now().since(started);
            Event::Store(StoreEvent::new(operation, result, duration))
        });
        match result {
            Some(Ok(output)) => Some(output),
            Some(Err(error)) => {
                debug!(purpose, code = error.code(), "a call to the token store failed");
                None
            }
            None => {
                debug!(purpose, "a call to the token store timed out");
                None
            }
        }
    }
}

fn digest(secret: &Secret) -> Thumbprint {
    Thumbprint::of(secret.expose().as_bytes())
}

symbolon_types::debug_fields!(StoreClient: store);
