//! Bound tokens in the private folder of persisted bindings
//! (docs/protocol/imdsv2.md#token-store).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use symbolon_binding::spawn_blocking;
use symbolon_binding::store::{FileLock, PrivateDir, StoredFile};
use symbolon_token::{
    CacheStore, Error, ErrorKind, Precondition, PutOutcome, SealedStore, SealingKey, StoreLock, StoredEntry,
};
use symbolon_types::{SharedClock, printable};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

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
const MAX_LENGTH: usize = 60 * 1024;

/// A store of bound tokens in a private folder, one file for each, sealed with a key beside them.
///
/// The folder is opened at first use. Clones share everything.
#[derive(Clone)]
pub(crate) struct TokenFolder {
    folder: PathBuf,
    clock: SharedClock,
    sealed: Arc<OnceCell<SealedStore>>,
}

impl TokenFolder {
    pub(crate) fn new(folder: PathBuf, clock: SharedClock) -> Self {
        Self { folder, clock, sealed: Arc::default() }
    }

    async fn sealed(&self) -> Result<&SealedStore, Error> {
        let open = || async {
            let folder = self.folder.clone();
            let dir = spawn_blocking(move || PrivateDir::open(folder)).await??;
            let held = dir.clone();
            let key = dir
                .with_lock(LOCK, &self.clock, LOCK_TIMEOUT, move |lock| get_or_create_key(&held, &lock))
                .await?;
            let files = TokenFiles { dir, clock: self.clock.clone() };
            Ok(SealedStore::new(files, SealingKey::new(KEY_ID, key)?))
        };
        self.sealed.get_or_try_init(open).await
    }
}

symbolon_types::debug_fields!(TokenFolder: folder);

impl CacheStore for TokenFolder {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        self.sealed().await?.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        self.sealed().await?.put(key, entry, ttl, precondition).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.sealed().await?.remove(key, precondition).await
    }

    async fn lock(&self, key: &str) -> Result<Option<StoreLock>, Error> {
        self.sealed().await?.lock(key).await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

/// Returns the sealing key of the folder. With a new key, earlier entries count as missing.
fn get_or_create_key(dir: &PrivateDir, lock: &FileLock) -> Result<Zeroizing<[u8; KEY_LENGTH]>, Error> {
    match dir.read(KEY_FILE)? {
        StoredFile::Absent => (),
        StoredFile::Content(bytes) if bytes.len() == KEY_LENGTH => {
            let mut key = Zeroizing::new([0; KEY_LENGTH]);
            key.copy_from_slice(&bytes);
            return Ok(key);
        }
        _ => {
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
}

impl TokenFiles {
    async fn change(
        &self,
        change: impl FnOnce(&PrivateDir, FileLock) -> Result<(), Error> + Send + 'static,
    ) -> Result<PutOutcome, Error> {
        let dir = self.dir.clone();
        let work = move |lock| change(&dir, lock);
        self.dir.with_lock(LOCK, &self.clock, LOCK_TIMEOUT, work).await?;
        Ok(PutOutcome::Done)
    }
}

impl CacheStore for TokenFiles {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let (dir, name, now) = (self.dir.clone(), file_name(key), self.clock.now());
        let StoredFile::Content(content) = spawn_blocking(move || dir.read(&name)).await?? else {
            return Ok(None);
        };
        let entry = split(&content).filter(|(expires_at, _)| now < *expires_at);
        Ok(entry.map(|(_, sealed)| StoredEntry::new(sealed)))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        _precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        if entry.len() > MAX_LENGTH {
            tracing::debug!("a token is too long to be stored");
            return Ok(PutOutcome::Done);
        }
        let (name, now) = (file_name(key), self.clock.now());
        let expires_at = now.checked_add(ttl).unwrap_or(now);
        let unix = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let content = [&unix.to_be_bytes()[..], entry].concat();
        self.change(move |dir, lock| {
            remove_expired(dir, now, &lock)?;
            if let StoredFile::Unusable(_) = dir.read(&name)? {
                dir.set_aside(&name, &lock)?;
            }
            dir.replace(&name, &content, &lock)
        })
        .await
    }

    async fn remove(&self, key: &str, _precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        let name = file_name(key);
        self.change(move |dir, lock| dir.remove(&name, &lock)).await
    }

    /// The first character of the digest selects one of 64 locks, which are never removed.
    async fn lock(&self, key: &str) -> Result<Option<StoreLock>, Error> {
        let digest = key.rsplit(':').next().unwrap_or_default();
        let name = format!("exchange-{}.lock", digest.get(..1).unwrap_or("0"));
        let lock = self.dir.lock(&name, &self.clock, EXCHANGE_TIMEOUT).await?;
        Ok(Some(StoreLock::new(lock)))
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

fn file_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace(':', "-"))
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
