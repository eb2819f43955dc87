//! Keys in files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pem_rfc7468::LineEnding;
use symbolon_files::{FileLock, PrivateDir, StoredFile, has_no_room, spawn_blocking};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{
    Context, Error, Secret, SharedClock, SharedSigningKey, SignatureScheme, SigningError, SigningKey,
    Strength, printable,
};
use zeroize::Zeroizing;

use super::KeyProvider;
use super::p256::P256Key;
use super::rsa::RsaKey;
use super::software::{SoftwareAlgorithm, creation_error};

/// Code of the error of a folder that cannot be written to.
const UNUSABLE: &str = "store_unusable";
/// Lock file, held while a key is created.
const LOCK: &str = "keys.lock";
/// Creating an RSA key takes a tenth of a second, or longer while a machine starts.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Key provider with one key for each algorithm in a private folder, shared by all processes of
/// this user.
///
/// The first process creates the key; processes that start at the same time wait for it. The folder
/// has mode 0700; the file has mode 0600 and contains unencrypted PKCS#8 (RFC 5958) in DER.
/// Symbolic links are not followed. Anyone who can read the file can use the key, so its strength
/// is
/// [`Software`](symbolon_types::Strength::Software); prefer a key in a device if there is one.
///
/// A file that is damaged, has another algorithm, belongs to another user or is open to other users
/// is renamed to `NAME.set-aside` with a warning in the log, and a new key is created. Certificates
/// of the old key cannot be used any more, and the minter mints new ones.
///
/// If a new key cannot be written, for example to a full disk, it is kept in memory with a warning,
/// and each request for a key tries to write it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let parent = tempfile::tempdir()?;
/// # let folder = parent.path().join("symbolon");
/// use symbolon_binding::{KeyProvider, PersistedKeys};
/// use symbolon_types::SigningKey;
///
/// let created = PersistedKeys::p256(&folder).key().await?;
/// let found = PersistedKeys::p256(&folder).key().await?;
/// assert_eq!(created.public_key(), found.public_key());
/// # Ok(()) }
/// ```
///
/// Only on Unix.
#[derive(Clone, Debug)]
#[must_use]
pub struct PersistedKeys {
    algorithm: SoftwareAlgorithm,
    folder: PathBuf,
    clock: SharedClock,
    /// A key that could not be written.
    unwritten: UnwrittenKey,
}

/// A key with its PKCS#8 form.
type GeneratedKey = (SharedSigningKey, Zeroizing<Vec<u8>>);

/// A key in memory, shared by the clones of a provider.
#[derive(Clone, Default)]
struct UnwrittenKey(Arc<Mutex<Option<GeneratedKey>>>);

impl PersistedKeys {
    /// Uses the RSA key of 2048 bits in this folder: `rsa-2048.pkcs8`.
    pub fn rsa_2048(folder: impl Into<PathBuf>) -> Self {
        Self::new(SoftwareAlgorithm::Rsa2048, folder.into())
    }

    /// Uses the ECDSA key on P-256 in this folder: `p-256.pkcs8`.
    pub fn p256(folder: impl Into<PathBuf>) -> Self {
        Self::new(SoftwareAlgorithm::P256, folder.into())
    }

    fn new(algorithm: SoftwareAlgorithm, folder: PathBuf) -> Self {
        Self { algorithm, folder, clock: SharedClock::system(), unwritten: UnwrittenKey::default() }
    }

    /// Sets the clock that measures the wait for another process that creates the key. Default: the
    /// process's own.
    pub fn with_context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// Returns the private key of this public key as unencrypted PKCS#8 in PEM (RFC 7468 §10), for
    /// another program; `None` if this provider has another key. No other provider exports keys.
    ///
    /// # Errors
    /// `store_unusable` when the folder cannot be read.
    pub async fn export_pem(
        &self,
        public_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Result<Option<Secret>, Error> {
        let (algorithm, folder) = (self.algorithm, self.folder.clone());
        let read = spawn_blocking(move || PrivateDir::open(folder)?.read(algorithm.file()));
        let stored = match read.await? {
            Ok(StoredFile::Content(pkcs8)) => algorithm.read(&pkcs8).map(|key| (key, pkcs8)),
            Ok(_) => None,
            Err(error) if has_no_room(&error) => None,
            Err(error) => return Err(error),
        };
        let unwritten = self.unwritten.lock().clone();
        let mut keys = stored.into_iter().chain(unwritten);
        let Some((_, pkcs8)) = keys.find(|(key, _)| key.public_key() == public_key) else { return Ok(None) };
        // Encoding fails only if the length overflows.
        Ok(pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, &pkcs8).ok().map(Secret::new))
    }
}

impl KeyProvider for PersistedKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let (algorithm, folder) = (self.algorithm, self.folder.clone());
        let opened = spawn_blocking(move || {
            let dir = PrivateDir::open(folder)?;
            let stored = read(&dir, algorithm)?;
            Ok::<_, Error>((dir, stored))
        });
        let (dir, stored) = match opened.await? {
            Err(error) if has_no_room(&error) => return self.unwritten.key(algorithm, &error),
            opened => opened?,
        };
        if let StoredKey::Key(key) = stored {
            return Ok(key);
        }
        let (locked, unwritten) = (dir.clone(), self.unwritten.clone());
        let create = move |lock| find_or_create(&locked, algorithm, &unwritten, &lock);
        match dir.with_lock(LOCK, &self.clock, LOCK_TIMEOUT, create).await {
            Err(error) if error.code() == UNUSABLE => self.unwritten.key(algorithm, &error),
            key => key,
        }
    }
}

/// Key with the path of its file.
struct FileKey {
    key: SharedSigningKey,
    path: String,
}

impl FileKey {
    fn shared(key: SharedSigningKey, dir: &PrivateDir, file: &str) -> SharedSigningKey {
        SharedSigningKey::new(Self { key, path: dir.path().join(file).display().to_string() })
    }
}

impl SigningKey for FileKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.key.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.key.sign(scheme, message)
    }

    fn strength(&self) -> Strength {
        self.key.strength()
    }

    fn location(&self) -> Option<&str> {
        Some(&self.path)
    }
}

symbolon_types::debug_fields!(FileKey);

/// State of the key file.
enum StoredKey {
    Key(SharedSigningKey),
    Absent,
    Unusable(String),
}

fn read(dir: &PrivateDir, algorithm: SoftwareAlgorithm) -> Result<StoredKey, Error> {
    Ok(match dir.read(algorithm.file())? {
        StoredFile::Absent => StoredKey::Absent,
        StoredFile::Unusable(problem) => StoredKey::Unusable(problem.to_string()),
        StoredFile::Content(pkcs8) => match algorithm.read(&pkcs8) {
            Some(key) => StoredKey::Key(FileKey::shared(key, dir, algorithm.file())),
            None => StoredKey::Unusable("is damaged or has another algorithm".into()),
        },
    })
}

/// Returns the key that another process created while this one waited for the lock, or a new key.
fn find_or_create(
    dir: &PrivateDir,
    algorithm: SoftwareAlgorithm,
    unwritten: &UnwrittenKey,
    lock: &FileLock,
) -> Result<SharedSigningKey, Error> {
    let file = algorithm.file();
    match read(dir, algorithm)? {
        StoredKey::Key(key) => return Ok(key),
        StoredKey::Absent => (),
        StoredKey::Unusable(flaw) => {
            let path = dir.path().join(file);
            tracing::warn!(file = %printable(path.display()), flaw, "the stored key cannot be used; it is set aside and a new one is created");
            dir.set_aside(file, lock)?;
        }
    }
    let mut unwritten = unwritten.lock();
    let (key, pkcs8) = UnwrittenKey::get_or_generate(&mut unwritten, algorithm)?;
    dir.replace(file, pkcs8, lock)?;
    tracing::info!(file = %printable(dir.path().join(file).display()), "created and stored a key");
    let key = FileKey::shared(key.clone(), dir, file);
    *unwritten = None;
    Ok(key)
}

impl UnwrittenKey {
    /// Returns the key in memory, because none can be stored.
    fn key(&self, algorithm: SoftwareAlgorithm, error: &Error) -> Result<SharedSigningKey, Error> {
        tracing::warn!(%error, "could not store a key; it is kept in memory, and other processes create their own");
        Self::get_or_generate(&mut self.lock(), algorithm).map(|(key, _)| key.clone())
    }

    fn get_or_generate(
        slot: &mut Option<GeneratedKey>,
        algorithm: SoftwareAlgorithm,
    ) -> Result<&GeneratedKey, Error> {
        if slot.is_none() {
            *slot = Some(algorithm.generate().ok_or_else(creation_error)?);
        }
        slot.as_ref().ok_or_else(creation_error)
    }

    fn lock(&self) -> MutexGuard<'_, Option<GeneratedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Hides the key.
symbolon_types::debug_fields!(UnwrittenKey);

impl SoftwareAlgorithm {
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

    fn generate(self) -> Option<GeneratedKey> {
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
