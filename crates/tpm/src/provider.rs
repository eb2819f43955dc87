//! Key provider of a TPM.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_binding::store::{FileLock, PrivateDir, StoredFile};
use symbolon_binding::{Error, KeyProvider, spawn_blocking};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SharedClock, SharedSigningKey, SigningKey as _, printable};

use crate::commands::WrappedKey;
use crate::error::TpmError;
use crate::key::{Tpm, TpmKey};
use crate::public::TpmAlgorithm;

/// Lock file, held while a key is created.
const LOCK: &str = "keys.lock";
/// A TPM may search for primes for a minute.
const LOCK_TIMEOUT: Duration = Duration::from_secs(180);

/// Key provider with one key for each algorithm in a TPM, wrapped in a private folder.
///
/// The first process creates the key; processes that start at the same time wait for it. The file
/// (`rsa-2048.tpm`, `p-256.tpm`) is useless without this TPM, which encrypts the private key. It is
/// still kept in a [`PrivateDir`](symbolon_binding::store::PrivateDir), because a user who replaces
/// it would get another key certified. A key that was not created by a TPM for this TPM only
/// (`fixedTPM`, `fixedParent`, `sensitiveDataOrigin`) is not used.
///
/// An unusable file, or a key that the TPM cannot load because it was cleared or is another one, is
/// set aside with a warning in the log, and a new key is created.
///
/// The TPM is used with [`spawn_blocking`]. Signing, which happens inside TLS handshakes, blocks
/// its thread for as long as the TPM takes: some tens of milliseconds for P-256, one or two hundred
/// for RSA. Clones share one key on one connection.
///
/// ```
/// # fn main() -> Result<(), symbolon_binding::Error> {
/// use symbolon_tpm::TpmKeys;
///
/// let keys = TpmKeys::builder("device:/dev/tpmrm0", "/var/lib/my-service/symbolon")?.p256().build()?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Errors of [`key`](KeyProvider::key), all of kind
/// [`Environment`](symbolon_types::ErrorKind::Environment):
///
/// | code | cause |
/// |---|---|
/// | `tpm_unreachable` | the device or the address cannot be opened |
/// | `owner_refused` | the TPM requires the authorization value of its owner |
/// | `tpm_failed` | any other error of the TPM |
/// | `store_unusable`, `store_locked` | the folder cannot be used, or another process holds it |
#[derive(Clone)]
pub struct TpmKeys(Arc<TpmKeySource>);

struct TpmKeySource {
    tpm: Arc<Tpm>,
    algorithm: TpmAlgorithm,
    folder: PathBuf,
    clock: SharedClock,
    current: Mutex<Option<TpmKey>>,
}

impl TpmKeys {
    pub(crate) fn new(tpm: Tpm, algorithm: TpmAlgorithm, folder: PathBuf, clock: SharedClock) -> Self {
        Self(Arc::new(TpmKeySource {
            tpm: Arc::new(tpm),
            algorithm,
            folder,
            clock,
            current: Mutex::default(),
        }))
    }

    /// Returns the key of this public key for another program: as `TSS2 PRIVATE KEY` in PEM, which
    /// the providers and engines of OpenSSL for TPM 2.0 read; `None` if this provider has another
    /// key. The key stays wrapped, so that the program needs the same TPM.
    ///
    /// # Errors
    /// Those of [`key`](KeyProvider::key).
    pub async fn wrapped_pem(
        &self,
        public_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Result<Option<String>, Error> {
        let key = self.tpm_key().await?;
        Ok(if key.public_key() == public_key { key.key_file() } else { None })
    }

    async fn tpm_key(&self) -> Result<TpmKey, Error> {
        let source = Arc::clone(&self.0);
        let dir = match spawn_blocking(move || source.find()).await?? {
            Ok(key) => return Ok(key),
            Err(dir) => dir,
        };
        let (source, locked) = (Arc::clone(&self.0), dir.clone());
        let create = move |lock| source.find_or_create(&locked, &lock);
        dir.with_lock(LOCK, &self.0.clock, LOCK_TIMEOUT, create).await
    }
}

impl KeyProvider for TpmKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.tpm_key().await.map(SharedSigningKey::new)
    }
}

/// State of the key file.
enum StoredTpmKey {
    Key(TpmKey),
    Absent,
    Unusable(String),
}

impl TpmKeySource {
    /// Returns the current or stored key, or else the folder to create it in.
    fn find(&self) -> Result<Result<TpmKey, PrivateDir>, Error> {
        // Locked until the end: some TPMs serve one connection at a time, which the key of the
        // first caller keeps.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = existing(&mut current)? {
            return Ok(Ok(key));
        }
        let dir = PrivateDir::open(&self.folder)?;
        Ok(match self.read(&dir)? {
            StoredTpmKey::Key(key) => Ok(current.insert(key).clone()),
            StoredTpmKey::Absent | StoredTpmKey::Unusable(_) => Err(dir),
        })
    }

    /// Returns the key that another process created while this one waited for the lock, or a new
    /// key.
    fn find_or_create(&self, dir: &PrivateDir, lock: &FileLock) -> Result<TpmKey, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = existing(&mut current)? {
            return Ok(key);
        }
        let path = dir.path().join(self.file());
        match self.read(dir)? {
            StoredTpmKey::Key(key) => return Ok(current.insert(key).clone()),
            StoredTpmKey::Absent => (),
            StoredTpmKey::Unusable(flaw) => {
                tracing::warn!(file = %printable(path.display()), flaw, "the stored key cannot be used; it is set aside and a new one is created");
                dir.set_aside(self.file(), lock)?;
            }
        }
        let wrapped = self.tpm.create(self.algorithm)?;
        let key = self.load(wrapped.clone())?;
        dir.replace(self.file(), &wrapped.to_bytes(), lock)?;
        tracing::info!(file = %printable(path.display()), "created a key in the TPM, and stored it wrapped");
        Ok(current.insert(key).clone())
    }

    fn read(&self, dir: &PrivateDir) -> Result<StoredTpmKey, Error> {
        let bytes = match dir.read(self.file())? {
            StoredFile::Absent => return Ok(StoredTpmKey::Absent),
            StoredFile::Content(bytes) => bytes,
            StoredFile::Unusable(problem) => return Ok(StoredTpmKey::Unusable(problem.to_string())),
        };
        let wrapped =
            WrappedKey::from_bytes(&bytes).filter(|wrapped| self.algorithm.read(&wrapped.public).is_some());
        let Some(wrapped) = wrapped else {
            return Ok(StoredTpmKey::Unusable(
                "is damaged, or is not a key that this TPM created for itself".into(),
            ));
        };
        match self.load(wrapped) {
            Ok(key) => Ok(StoredTpmKey::Key(key)),
            Err(TpmError::KeyGone) => {
                Ok(StoredTpmKey::Unusable("belongs to another TPM, or the TPM was cleared".into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn load(&self, wrapped: WrappedKey) -> Result<TpmKey, TpmError> {
        let loaded = self.tpm.load(&wrapped)?;
        let file = self.folder.join(self.file());
        let key = TpmKey::new(Arc::clone(&self.tpm), self.algorithm, wrapped, loaded, &file);
        key.ok_or(TpmError::InvalidResponse("TPM2_Create"))
    }

    fn file(&self) -> &'static str {
        match self.algorithm {
            TpmAlgorithm::Rsa2048 => "rsa-2048.tpm",
            TpmAlgorithm::P256 => "p-256.tpm",
        }
    }
}

/// Returns the current key if the TPM still has it.
fn existing(current: &mut Option<TpmKey>) -> Result<Option<TpmKey>, Error> {
    let Some(key) = current.as_ref() else { return Ok(None) };
    match key.check_exists() {
        Ok(()) => Ok(Some(key.clone())),
        Err(TpmError::KeyGone) => {
            *current = None;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

symbolon_types::debug_fields!(TpmKeys |this| tpm: this.0.tpm, folder: this.0.folder);
