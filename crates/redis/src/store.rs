//! The token store in Redis.

use std::sync::Arc;
use std::time::Duration;

use symbolon_token::{CacheStore, Error, LockOutcome, Precondition, PutOutcome, SealedStore, StoredEntry};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::entries::RedisEntries;
use crate::failure;

/// The longest prefix of the keys.
const LONGEST_PREFIX: usize = 128;

/// A [`CacheStore`] in Redis. Clones share the connection.
///
/// Entries are sealed, so that a party that can read or write Redis gets no token and cannot
/// exchange or change one. A token is in Redis until it expires. Tokens of managed identities and
/// bound tokens are refused by the token cache, because every machine can read this store.
///
/// A token that is missing or due for refresh is requested by one process under a lock, and the
/// others wait for it. The lock is lost after five seconds, in case its process has ended; a
/// process that was stopped for longer does not overwrite the token of the next holder.
///
/// A command that gets no reply within the [time limit](crate::RedisStoreBuilder::timeout) fails,
/// and the next ones fail at once for a second, then two, … up to thirty seconds. Tokens are
/// requested without Redis meanwhile. The beginning and the end of an outage are logged once each.
#[derive(Clone, Debug)]
pub struct RedisStore {
    prefix: Arc<str>,
    entries: Entries,
    has_background_writes: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Entries {
    Sealed(SealedStore),
    Unsealed(RedisEntries),
}

impl RedisStore {
    pub(crate) fn new(prefix: Arc<str>, entries: Entries, has_background_writes: bool) -> Self {
        Self { prefix, entries, has_background_writes }
    }

    /// Returns a store over the same connection whose keys begin with another prefix: for a tenant
    /// of its own, say. A sealed entry cannot be moved from one prefix to another.
    ///
    /// # Errors
    /// `invalid_redis_settings` as of [`key_prefix`](crate::RedisStoreBuilder::key_prefix).
    pub fn with_key_prefix(&self, prefix: &str) -> Result<Self, Error> {
        Ok(Self { prefix: checked_prefix(prefix)?.into(), ..self.clone() })
    }

    /// Returns the key in Redis. The part in braces selects the slot in a cluster.
    fn key(&self, key: &str) -> String {
        format!("{}{{{key}}}", self.prefix)
    }
}

impl Entries {
    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        match self {
            Self::Sealed(sealed) => sealed.put(key, entry, ttl, precondition).await,
            Self::Unsealed(entries) => entries.put(key, entry, ttl, precondition).await,
        }
    }
}

impl CacheStore for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        match &self.entries {
            Entries::Sealed(sealed) => sealed.get(&self.key(key)).await,
            Entries::Unsealed(entries) => entries.get(&self.key(key)).await,
        }
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let key = self.key(key);
        // The caller of a write with another condition needs its result.
        let lock = match precondition {
            Precondition::None => None,
            Precondition::Locked(lock) => Some(lock.clone()),
            _ => return self.entries.put(&key, entry, ttl, precondition).await,
        };
        if !self.has_background_writes {
            return self.entries.put(&key, entry, ttl, precondition).await;
        }
        let runtime = Handle::try_current().map_err(|_| failure::no_runtime())?;
        let (entries, entry) = (self.entries.clone(), Zeroizing::new(entry.to_vec()));
        drop(runtime.spawn(async move {
            // The lock is held until the token is in the store.
            let precondition = lock.as_ref().map_or(Precondition::None, Precondition::Locked);
            entries.put(&key, &entry, ttl, precondition).await
        }));
        Ok(PutOutcome::Done)
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        match &self.entries {
            Entries::Sealed(sealed) => sealed.remove(&self.key(key), precondition).await,
            Entries::Unsealed(entries) => entries.remove(&self.key(key), precondition).await,
        }
    }

    async fn lock(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error> {
        match &self.entries {
            Entries::Sealed(sealed) => sealed.lock(&self.key(key), read).await,
            Entries::Unsealed(entries) => entries.lock(&self.key(key), read).await,
        }
    }

    fn is_local_to_machine(&self) -> bool {
        false
    }
}

/// Returns a prefix that is part of a key as it is. Braces would select the slot of a cluster.
pub(crate) fn checked_prefix(prefix: &str) -> Result<&str, Error> {
    let is_plain = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'*' | b'?' | b'[' | b']' | b'\\')
    };
    if prefix.len() <= LONGEST_PREFIX && prefix.bytes().all(is_plain) {
        return Ok(prefix);
    }
    Err(failure::invalid(
        "the key prefix is longer than 128 characters, or has a blank, a brace or a wildcard",
        "use letters, digits, `:`, `-` and `_`, for example `orders:`",
    ))
}
