//! Where tokens are kept outside of this process.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use symbolon_types::Error;
use zeroize::Zeroizing;

/// A place outside of this process in which a [`TokenCache`](crate::TokenCache) keeps its tokens:
/// a file, a database, a distributed cache.
///
/// It holds bytes under keys, one entry for each token, and understands neither. An entry contains
/// a token in the clear, and whoever can write to the store decides which tokens are served, unless
/// it is wrapped in a `SealedStore` (feature `sealed-store`).
/// A key is the digest of what the token is for, in at most 60 ASCII characters out of
/// `A`-`Z`, `a`-`z`, `0`-`9`, `-`, `_` and `:`.
///
/// An error never fails a request for a token: it is logged, and the token is fetched as if there
/// were no store. So is a call that takes longer than two seconds.
///
/// ```
/// # use std::time::Duration;
/// # use symbolon_token::{CacheStore, Error, Precondition, PutOutcome, StoredEntry};
/// /// Keeps nothing.
/// #[derive(Debug)]
/// struct Nowhere;
///
/// impl CacheStore for Nowhere {
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
    /// The entry under a key, with its version if the store can compare versions.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<StoredEntry>, Error>> + Send;

    /// Puts an entry under a key, where nobody needs it any more after `ttl`.
    ///
    /// A store that cannot compare ignores the precondition.
    fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> impl Future<Output = Result<PutOutcome, Error>> + Send;

    /// Removes what is under a key; it is done if there is nothing.
    ///
    /// A store that cannot compare ignores the precondition.
    fn remove(
        &self,
        key: &str,
        precondition: Precondition<'_>,
    ) -> impl Future<Output = Result<PutOutcome, Error>> + Send;

    /// Whether only this machine can read it. Tokens of managed identities and tokens that are bound
    /// to a certificate are worth nothing on another machine, or worse, are another one's: they are
    /// kept only in a store that answers yes.
    fn is_local_to_machine(&self) -> bool;
}

/// What a [`CacheStore`] holds under a key. The bytes are overwritten when it is dropped.
#[derive(Clone)]
pub struct StoredEntry {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) version: Option<String>,
}

impl StoredEntry {
    /// An entry of a store that cannot compare versions.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: Zeroizing::new(bytes.into()), version: None }
    }

    /// The same in this version: a text that is another one after each write, such as an `ETag`.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The bytes as they were put.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The version, if the store can compare versions.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// Hides the bytes.
impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredEntry").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What must hold for a write to happen (RFC 9110 §13.1 has the same three).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition<'a> {
    /// Nothing.
    None,
    /// There is no entry under the key (`If-None-Match: *`).
    Absent,
    /// The entry is in the version that was read (`If-Match`).
    Unchanged(&'a str),
}

impl<'a> Precondition<'a> {
    /// That what was read is what is still there, as far as the store can compare.
    pub(crate) fn still(read: Option<&'a StoredEntry>) -> Self {
        match read {
            None => Self::Absent,
            Some(entry) => entry.version().map_or(Self::None, Self::Unchanged),
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutOutcome {
    /// It happened.
    Done,
    /// It did not, because the precondition does not hold.
    Conflict,
}

/// The twin of [`CacheStore`] that can stand behind a pointer.
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

    fn is_local_to_machine_erased(&self) -> bool {
        self.is_local_to_machine()
    }
}
