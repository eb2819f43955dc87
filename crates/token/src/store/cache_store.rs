//! The trait of token stores.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use symbolon_types::Error;
use zeroize::Zeroizing;

/// A store outside of this process behind a [`TokenCache`](crate::TokenCache): a file, a database
/// or a distributed cache.
///
/// A store maps keys to opaque bytes, with one entry for each token. Entries contain tokens in
/// plain text, and any party that can write to the store can replace the tokens that are served.
/// Wrap the store in a `SealedStore` (feature `sealed-store`) to prevent both. A key is a digest of
/// the cache key, with at most 60 characters of `A`-`Z`, `a`-`z`, `0`-`9`, `-`, `_` and `:`.
///
/// A store never fails a request for a token: an error, or a call that takes more than two seconds,
/// is logged, and the token is fetched as if there were no store.
///
/// ```
/// # use std::time::Duration;
/// # use symbolon_token::{CacheStore, Error, Precondition, PutOutcome, StoredEntry};
/// /// A store that is always empty.
/// #[derive(Debug)]
/// struct EmptyStore;
///
/// impl CacheStore for EmptyStore {
///     async fn get(&self, _key: &str) -> Result<Option<StoredEntry>, Error> {
///         Ok(None)
///     }
///
///     async fn put(
///         &self,
///         _key: &str,
///         _entry: &[u8],
///         _ttl: Duration,
///         _precondition: Precondition<'_>,
///     ) -> Result<PutOutcome, Error> {
///         Ok(PutOutcome::Done)
///     }
///
///     async fn remove(&self, _key: &str, _precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
///         Ok(PutOutcome::Done)
///     }
///
///     fn is_local_to_machine(&self) -> bool {
///         true
///     }
/// }
/// ```
pub trait CacheStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the entry under `key`, with its version if the store supports preconditions.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<StoredEntry>, Error>> + Send;

    /// Writes an entry under `key`, which can be removed after `ttl`.
    ///
    /// A store without support for preconditions ignores `precondition`.
    fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> impl Future<Output = Result<PutOutcome, Error>> + Send;

    /// Removes the entry under `key`. Removing a missing entry is `Done`.
    ///
    /// A store without support for preconditions ignores `precondition`.
    fn remove(
        &self,
        key: &str,
        precondition: Precondition<'_>,
    ) -> impl Future<Output = Result<PutOutcome, Error>> + Send;

    /// Waits for the lock of `key` between processes, so that one of them requests a missing token
    /// and the others wait for it. `read` is the version of the entry that the caller has read, if
    /// it has one. The lock of one key may be that of other keys too. The default is no lock.
    ///
    /// A lock that is not acquired within ten seconds, or within half of the time that the request
    /// has left, is skipped. The token is then written with [`Precondition::Locked`].
    fn lock(&self, key: &str, read: Option<&str>) -> impl Future<Output = Result<LockOutcome, Error>> + Send {
        let _ = (key, read);
        std::future::ready(Ok(LockOutcome::Unsupported))
    }

    /// Returns whether only this machine can read the store. Only such a store receives tokens of
    /// managed identities and bound tokens, because they belong to one machine.
    fn is_local_to_machine(&self) -> bool;
}

/// An entry of a [`CacheStore`]. Its bytes are overwritten when it is dropped.
#[derive(Clone)]
#[must_use]
pub struct StoredEntry {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) version: Option<String>,
}

impl StoredEntry {
    /// Creates an entry without a version, for a store without support for preconditions.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: Zeroizing::new(bytes.into()), version: None }
    }

    /// Sets the version: a text that changes with each write, such as an `ETag`.
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Returns the bytes as they were written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the version, if the store supports preconditions.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

// Hides the bytes.
symbolon_types::debug_fields!(StoredEntry: version);

/// The result of waiting for the lock of a [`CacheStore`].
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub enum LockOutcome {
    /// The lock.
    Acquired(StoreLock),
    /// No lock: another process has written the entry while the caller waited.
    Changed,
    /// The store has no locks.
    Unsupported,
}

/// A lock of a [`CacheStore`], held until its last clone is dropped.
#[derive(Clone)]
#[must_use]
pub struct StoreLock {
    guard: Arc<dyn Send + Sync>,
    fence: Option<String>,
}

impl StoreLock {
    /// Creates a lock from a guard that releases it when it is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { guard: Arc::new(guard), fence: None }
    }

    /// Sets the fence: a text by which the store can tell this lock from the one of a later holder.
    pub fn with_fence(mut self, fence: impl Into<String>) -> Self {
        self.fence = Some(fence.into());
        self
    }

    /// Returns the fence, if the lock can be lost while it is held.
    #[must_use]
    pub fn fence(&self) -> Option<&str> {
        self.fence.as_deref()
    }
}

/// Clones are equal.
impl PartialEq for StoreLock {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.guard, &other.guard)
    }
}

impl Eq for StoreLock {}

symbolon_types::debug_fields!(StoreLock: fence);

/// The condition of a write, as in RFC 9110 §13.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition<'a> {
    /// No condition.
    None,
    /// The key has no entry (`If-None-Match: *`).
    Absent,
    /// The entry still has this version (`If-Match`).
    Unchanged(&'a str),
    /// No other process has acquired this lock since, which can happen to a process that was
    /// paused. A store whose locks have no fence ignores it. The write may release the lock.
    Locked(&'a StoreLock),
}

impl<'a> Precondition<'a> {
    /// Returns the condition that the entry was not changed since it was read.
    pub(crate) fn unchanged_since(read: Option<&'a StoredEntry>) -> Self {
        match read {
            None => Self::Absent,
            Some(entry) => entry.version().map_or(Self::None, Self::Unchanged),
        }
    }
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutOutcome {
    /// The store was changed, or had nothing to remove.
    Done,
    /// The store was not changed, because the precondition does not hold.
    Conflict,
}

/// The dyn-compatible form of [`CacheStore`].
#[async_trait]
pub(crate) trait ErasedStore: fmt::Debug + Send + Sync {
    async fn get_erased(&self, key: &str) -> Result<Option<StoredEntry>, Error>;
    async fn put_erased(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error>;
    async fn remove_erased(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error>;
    async fn lock_erased(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error>;
    fn is_local_to_machine_erased(&self) -> bool;
}

#[async_trait]
impl<S: CacheStore> ErasedStore for S {
    async fn get_erased(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        self.get(key).await
    }

    async fn put_erased(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        self.put(key, entry, ttl, precondition).await
    }

    async fn remove_erased(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.remove(key, precondition).await
    }

    async fn lock_erased(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error> {
        self.lock(key, read).await
    }

    fn is_local_to_machine_erased(&self) -> bool {
        self.is_local_to_machine()
    }
}
