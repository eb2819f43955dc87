//! A store in a private folder (docs/protocol/imdsv2.md#token-store).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon_files::{FileLock, PrivateDir, StoredFile, spawn_blocking};
use symbolon_types::{Context, Error, ErrorKind, SharedClock, SteadyTime, Thumbprint, printable};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::cache_store::{CacheStore, LockOutcome, Precondition, PutOutcome, StoreLock, StoredEntry};
use super::sealed::{SealedStore, SealingKey};

/// The file with the sealing key.
const KEY_FILE: &str = "tokens.key";
/// The id of the sealing key, stored in each entry.
const KEY_ID: &str = "folder";
const KEY_LENGTH: usize = 32;
/// The lock file of all changes to the folder.
const LOCK: &str = "tokens.lock";
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum time to wait for the exchange of another process.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first characters of the name of an entry.
const PREFIX: &str = "token-";
/// The maximum length of an entry. A longer file would not be read.
const MAX_LENGTH: usize = 120 * 1024;
/// The longest time to live. Tokens and refresh tokens have shorter ones.
const LONGEST_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// The time between two searches for expired entries, which read all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// A [`CacheStore`] in a private folder, which the processes of one user on one machine share (on
/// Unix; feature `file-store`).
///
/// Each token is a file, sealed with a key in the same folder. The key is no protection from the
/// user of the folder, but keeps tokens out of partial copies. A folder that belongs to another
/// user or is open to others is refused, and no token is stored.
///
/// The folder is opened at first use, and again after a failure: it may have been removed. The
/// first failure of several is logged. It must not be on a file system that several machines share.
/// The number of tokens is not limited; expired ones are removed. Clones share everything.
///
/// ```
/// # use symbolon_token::{Context, FileStore, TokenCache};
/// # let parent = tempfile::tempdir().unwrap();
/// # let folder = parent.path().join("tokens");
/// let context = Context::default();
/// let cache = TokenCache::new(1000, &context).with_store(FileStore::new(folder, &context));
/// assert!(cache.has_store());
/// ```
#[derive(Clone)]
#[must_use]
pub struct FileStore {
    folder: PathBuf,
    clock: SharedClock,
    shared: Arc<SharedFolder>,
}

/// The open folder of a store and its clones.
#[derive(Default)]
struct SharedFolder {
    open: Mutex<OpenOnce>,
    /// True after a failed call, so that a failure is logged once.
    is_failing: AtomicBool,
}

/// A folder that is opened once.
type OpenOnce = Arc<OnceCell<SealedStore>>;

impl FileStore {
    /// Creates a store in a folder, which is created if it is missing, with the clock of `context`.
    /// Does no I/O.
    pub fn new(folder: impl Into<PathBuf>, context: &Context) -> Self {
        Self { folder: folder.into(), clock: context.clock().clone(), shared: Arc::default() }
    }

    fn open_once(&self) -> OpenOnce {
        Arc::clone(&self.shared.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn sealed<'a>(&self, open: &'a OpenOnce) -> Result<&'a SealedStore, Error> {
        let open_folder = || async {
            let folder = self.folder.clone();
            let open = move || {
                let dir = PrivateDir::open(folder)?;
                let key = match dir.read(KEY_FILE)? {
                    StoredFile::Content(content) => key_of(&content),
                    _ => None,
                };
                Ok::<_, Error>((dir, key))
            };
            // A key is replaced as a whole, so reading it needs no lock.
            let (dir, key) = spawn_blocking(open).await??;
            let key = match key {
                Some(key) => key,
                None => {
                    let held = dir.clone();
                    let create = move |lock| get_or_create_key(&held, &lock);
                    dir.with_lock(LOCK, &self.clock, LOCK_TIMEOUT, create).await?
                }
            };
            let files = TokenFiles { dir, clock: self.clock.clone(), swept_at: Arc::default() };
            Ok(SealedStore::new(files, SealingKey::new(KEY_ID, key)?))
        };
        open.get_or_try_init(open_folder).await
    }

    /// Logs the first failure of several. The folder is opened again for the next call, because it
    /// may have been removed.
    fn completed<T>(&self, used: &OpenOnce, result: Result<T, Error>) -> Result<T, Error> {
        let folder = printable(self.folder.display());
        match &result {
            Ok(_) => {
                if self.shared.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(%folder, "the folder of tokens can be used again");
                }
            }
            Err(error) => {
                if !self.shared.is_failing.swap(true, Ordering::Relaxed) {
                    let code = error.code();
                    tracing::warn!(%folder, code, %error, "the folder of tokens cannot be used; tokens are requested without it");
                }
                self.forget(used);
            }
        }
        result
    }

    /// Opens the folder again for the next call.
    fn forget(&self, used: &OpenOnce) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&open, used) {
            *open = OpenOnce::default();
        }
    }
}

symbolon_types::debug_fields!(FileStore: folder);

impl CacheStore for FileStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let open = self.open_once();
        let entry = async { self.sealed(&open).await?.get(key).await };
        let entry = self.completed(&open, entry.await)?;
        // An entry that cannot be decrypted may be sealed with a key that has replaced this one.
        if entry.as_ref().is_some_and(|entry| entry.bytes().is_empty()) {
            self.forget(&open);
        }
        Ok(entry)
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let open = self.open_once();
        let put = async { self.sealed(&open).await?.put(key, entry, ttl, precondition).await };
        self.completed(&open, put.await)
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        let open = self.open_once();
        let removal = async { self.sealed(&open).await?.remove(key, precondition).await };
        self.completed(&open, removal.await)
    }

    async fn lock(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error> {
        let open = self.open_once();
        let lock = async { self.sealed(&open).await?.lock(key, read).await };
        self.completed(&open, lock.await)
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

/// Returns the key in a file, unless it has another length.
fn key_of(content: &[u8]) -> Option<Zeroizing<[u8; KEY_LENGTH]>> {
    let content: &[u8; KEY_LENGTH] = content.try_into().ok()?;
    Some(Zeroizing::new(*content))
}

/// Returns the sealing key of the folder. With a new key, earlier entries count as missing.
fn get_or_create_key(dir: &PrivateDir, lock: &FileLock) -> Result<Zeroizing<[u8; KEY_LENGTH]>, Error> {
    match dir.read(KEY_FILE)? {
        StoredFile::Absent => (),
        found => {
            if let StoredFile::Content(content) = &found
                && let Some(key) = key_of(content)
            {
                return Ok(key);
            }
            let path = dir.path().join(KEY_FILE);
            tracing::warn!(file = %printable(path.display()), "the key of stored tokens cannot be used; it is set aside");
            dir.set_aside(KEY_FILE, lock)?;
        }
    }
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    getrandom::fill(&mut *key).map_err(|_| {
        Error::new(ErrorKind::Environment, "store_unusable", "the random source of this machine failed")
            .with_advice("no action is required; tokens are kept in memory only")
    })?;
    dir.replace(KEY_FILE, &*key, lock)?;
    Ok(key)
}

/// The files of sealed entries. Each begins with the time of its expiry in Unix seconds, in eight
/// bytes, big-endian, after which it is removed.
#[derive(Clone, Debug)]
struct TokenFiles {
    dir: PrivateDir,
    clock: SharedClock,
    /// The time of the last search for expired entries.
    swept_at: Arc<Mutex<Option<SteadyTime>>>,
}

impl TokenFiles {
    /// Changes a file under the lock of the folder, if the precondition holds.
    async fn change(
        &self,
        key: &str,
        precondition: Precondition<'_>,
        change: impl FnOnce(&PrivateDir, &str, &FileLock) -> Result<(), Error> + Send + 'static,
    ) -> Result<PutOutcome, Error> {
        let (dir, name, now) = (self.dir.clone(), file_name(key), self.clock.now());
        let expected = match precondition {
            Precondition::None | Precondition::Locked(_) => None,
            Precondition::Absent => Some(None),
            Precondition::Unchanged(version) => Some(Some(version.to_owned())),
        };
        let work = move |lock| {
            if let Some(expected) = expected {
                let version = match dir.read(&name)? {
                    StoredFile::Content(content) => {
                        split(&content).filter(|(until, _)| now < *until).map(|_| version_of(&content))
                    }
                    _ => None,
                };
                if version != expected {
                    return Ok(PutOutcome::Conflict);
                }
            }
            change(&dir, &name, &lock)?;
            Ok(PutOutcome::Done)
        };
        self.dir.with_lock(LOCK, &self.clock, LOCK_TIMEOUT, work).await
    }

    /// Returns true once in each interval.
    fn is_sweep_due(&self) -> bool {
        let now = self.clock.steady_now();
        let mut swept_at = self.swept_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept_at.is_none_or(|swept_at| now.since(swept_at) >= SWEEP_INTERVAL);
        if is_due {
            *swept_at = Some(now);
        }
        is_due
    }
}

impl CacheStore for TokenFiles {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let (dir, name, now) = (self.dir.clone(), file_name(key), self.clock.now());
        let StoredFile::Content(content) = spawn_blocking(move || dir.read(&name)).await?? else {
            return Ok(None);
        };
        let entry = split(&content).filter(|(expires_at, _)| now < *expires_at);
        Ok(entry.map(|(_, sealed)| StoredEntry::new(sealed).with_version(version_of(&content))))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        if entry.len() > MAX_LENGTH {
            tracing::debug!("a token is too long to be stored");
            return Ok(PutOutcome::Done);
        }
        let now = self.clock.now();
        let expires_at = now.checked_add(ttl.min(LONGEST_TTL)).unwrap_or(now);
        let unix = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let content = [&unix.to_be_bytes()[..], entry].concat();
        let is_sweep_due = self.is_sweep_due();
        self.change(key, precondition, move |dir, name, lock| {
            if is_sweep_due {
                remove_expired(dir, now, lock)?;
            }
            if let StoredFile::Unusable(_) = dir.read(name)? {
                dir.set_aside(name, lock)?;
            }
            dir.replace(name, &content, lock)
        })
        .await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.change(key, precondition, |dir, name, lock| dir.remove(name, lock)).await
    }

    /// The first character of the digest selects one of 64 locks, which are never removed.
    async fn lock(&self, key: &str, _read: Option<&str>) -> Result<LockOutcome, Error> {
        let digest = key.rsplit(':').next().unwrap_or_default();
        let name = format!("exchange-{}.lock", digest.get(..1).unwrap_or("0"));
        let lock = self.dir.lock(&name, &self.clock, EXCHANGE_TIMEOUT).await?;
        Ok(LockOutcome::Acquired(StoreLock::new(lock)))
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

fn file_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace(':', "-"))
}

/// Returns the version of a file: a digest, which changes with each write, because each is sealed
/// with another nonce.
fn version_of(content: &[u8]) -> String {
    Thumbprint::of(content).to_string()
}

/// Returns the expiry and the sealed entry of a file.
fn split(content: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (unix, sealed) = content.split_first_chunk::<8>()?;
    let unix = Duration::from_secs(u64::from_be_bytes(*unix));
    Some((SystemTime::UNIX_EPOCH.checked_add(unix)?, sealed))
}

/// Removes the entries that have expired, such as those of earlier certificates.
fn remove_expired(dir: &PrivateDir, now: SystemTime, lock: &FileLock) -> Result<(), Error> {
    for name in dir.names(PREFIX)? {
        if let StoredFile::Content(content) = dir.read(&name)?
            && split(&content).is_none_or(|(expires_at, _)| expires_at <= now)
        {
            dir.remove(&name, lock)?;
        }
    }
    Ok(())
}
