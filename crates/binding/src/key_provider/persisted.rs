//! A key in a file.

use std::path::PathBuf;
use std::time::Duration;

use symbolon_types::{Context, Error, SharedClock, SharedSigningKey};
use zeroize::Zeroizing;

use super::KeyProvider;
use super::p256::P256Key;
use super::rsa::RsaKey;
use super::software::{Algorithm, not_made};
use crate::blocking::spawn_blocking;
use crate::store::{FileLock, PrivateDir, StoredFile};

/// Held while a key is made.
const LOCK: &str = "keys.lock";
/// Making an RSA key takes a tenth of a second; a machine that is just starting may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// One key for each algorithm in a folder of this user's own, so that it outlives the process and
/// all processes of this user share it.
///
/// The first process to ask makes the key; others that start at the same time wait for it. The folder
/// has mode 0700, the file holds unencrypted PKCS#8 (RFC 5958) in DER with mode 0600, and neither
/// is looked for behind a symbolic link. Anybody who can read the file can use the key, so its strength
/// is [`Software`](symbolon_types::Strength::Software); use a key in a device where there is one.
///
/// A file that is not what was written (damaged, of another algorithm, of another user, or open to
/// others, so that the key is nobody's secret any more) is renamed to `NAME.set-aside` with a
/// warning in the log, and a new key is made. Whatever was certified for the old key is worthless then, and
/// a minter mints anew.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let parent = tempfile::tempdir()?;
/// # let folder = parent.path().join("symbolon");
/// use symbolon_binding::{KeyProvider, PersistedKeys};
/// use symbolon_types::SigningKey;
///
/// let made = PersistedKeys::p256(&folder).key().await?;
/// let found = PersistedKeys::p256(&folder).key().await?;
/// assert_eq!(made.public_key(), found.public_key());
/// # Ok(()) }
/// ```
///
/// Only on Unix.
#[derive(Clone, Debug)]
pub struct PersistedKeys {
    algorithm: Algorithm,
    folder: PathBuf,
    clock: SharedClock,
}

impl PersistedKeys {
    /// The RSA key of 2048 bits in this folder: `rsa-2048.pkcs8`.
    #[must_use]
    pub fn rsa_2048(folder: impl Into<PathBuf>) -> Self {
        Self::new(Algorithm::Rsa2048, folder.into())
    }

    /// The ECDSA key on P-256 in this folder: `p-256.pkcs8`.
    #[must_use]
    pub fn p256(folder: impl Into<PathBuf>) -> Self {
        Self::new(Algorithm::P256, folder.into())
    }

    fn new(algorithm: Algorithm, folder: PathBuf) -> Self {
        Self { algorithm, folder, clock: SharedClock::system() }
    }

    /// Sets the clock that measures the wait for another process that creates the key. Default: the
    /// process's own.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }
}

impl KeyProvider for PersistedKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let (algorithm, folder) = (self.algorithm, self.folder.clone());
        let (dir, found) = spawn_blocking(move || {
            let dir = PrivateDir::open(folder)?;
            let found = look(&dir, algorithm)?;
            Ok::<_, Error>((dir, found))
        })
        .await??;
        if let Seen::Key(key) = found {
            return Ok(key);
        }
        let lock = dir.lock(LOCK, &self.clock, PATIENCE).await?;
        spawn_blocking(move || make(&dir, algorithm, &lock)).await?
    }
}

/// What is where the key should be.
enum Seen {
    Key(SharedSigningKey),
    Nothing,
    Unusable(String),
}

fn look(dir: &PrivateDir, algorithm: Algorithm) -> Result<Seen, Error> {
    Ok(match dir.read(algorithm.file())? {
        StoredFile::Absent => Seen::Nothing,
        StoredFile::Unusable(flaw) => Seen::Unusable(flaw.to_string()),
        StoredFile::Content(pkcs8) => match algorithm.read(&pkcs8) {
            Some(key) => Seen::Key(key),
            None => Seen::Unusable("is damaged, or is another kind of key".into()),
        },
    })
}

/// The key that somebody made while we waited for the lock, or a new one.
fn make(dir: &PrivateDir, algorithm: Algorithm, lock: &FileLock) -> Result<SharedSigningKey, Error> {
    let file = algorithm.file();
    match look(dir, algorithm)? {
        Seen::Key(key) => return Ok(key),
        Seen::Nothing => (),
        Seen::Unusable(flaw) => {
            let path = dir.path().join(file);
            tracing::warn!(file = %path.display(), flaw, "a stored key cannot be used; set aside, and a new one is made");
            dir.set_aside(file, lock)?;
        }
    }
    let (key, pkcs8) = algorithm.generate().ok_or_else(not_made)?;
    dir.replace(file, &pkcs8, lock)?;
    tracing::info!(file = %dir.path().join(file).display(), "made a key and stored it");
    Ok(key)
}

impl Algorithm {
    fn file(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048.pkcs8",
            Self::P256 => "p-256.pkcs8",
        }
    }

    fn read(self, pkcs8: &[u8]) -> Option<SharedSigningKey> {
        match self {
            Self::Rsa2048 => RsaKey::from_pkcs8(pkcs8).map(SharedSigningKey::new),
            Self::P256 => P256Key::from_pkcs8(pkcs8).map(SharedSigningKey::new),
        }
    }

    fn generate(self) -> Option<(SharedSigningKey, Zeroizing<Vec<u8>>)> {
        match self {
            Self::Rsa2048 => {
                let key = RsaKey::generate_2048()?;
                let pkcs8 = key.to_pkcs8()?;
                Some((SharedSigningKey::new(key), pkcs8))
            }
            Self::P256 => {
                let key = P256Key::generate()?;
                let pkcs8 = key.to_pkcs8()?;
                Some((SharedSigningKey::new(key), pkcs8))
            }
        }
    }
}

#[cfg(test)]
mod tests;
