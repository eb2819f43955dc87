//! The key of a TPM, as a key provider.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_binding::store::{FileLock, PrivateDir, StoredFile};
use symbolon_binding::{Error, KeyProvider, spawn_blocking};
use symbolon_types::{SharedClock, SharedSigningKey};

use crate::TpmKeysBuilder;
use crate::commands::Blob;
use crate::failure::Failure;
use crate::key::{Tpm, TpmKey};
use crate::public::Algorithm;

/// Held while a key is made.
const LOCK: &str = "keys.lock";
/// A TPM may look for primes for a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// One key for each algorithm in a TPM, kept wrapped in a folder of this user's own.
///
/// The first process to ask has the TPM make the key; others that start at the same time wait for it.
/// The file (`rsa-2048.tpm`, `p-256.tpm`) is of no use without this TPM, which encrypts the private
/// half for itself. It is no secret then, but is still kept in a
/// [`PrivateDir`](symbolon_binding::store::PrivateDir): who could replace it could have another key
/// certified. A key that was not made by a TPM and for this TPM alone (`fixedTPM`, `fixedParent`,
/// `sensitiveDataOrigin`) is not used.
///
/// A file that cannot be used, and a key that the TPM does not take back because it was cleared or is
/// another one, is set aside with a warning in the log, and a new key is made.
///
/// The TPM is asked off the async threads. Signing, which happens inside TLS handshakes, blocks the thread
/// that asks for as long as the TPM takes: some tens of milliseconds for P-256, one or two hundred
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
/// Those of [`key`](KeyProvider::key), all of kind
/// [`Environment`](symbolon_types::ErrorKind::Environment):
///
/// | code | what happened |
/// |---|---|
/// | `tpm_unreachable` | the device or the address cannot be opened |
/// | `owner_refused` | the TPM wants its owner's authorization value |
/// | `tpm_failed` | anything else that the TPM answers |
/// | `store_unusable`, `store_locked` | the folder cannot be used, or another process holds it |
#[derive(Clone)]
pub struct TpmKeys(Arc<Inner>);

struct Inner {
    tpm: Arc<Tpm>,
    algorithm: Algorithm,
    folder: PathBuf,
    clock: SharedClock,
    current: Mutex<Option<TpmKey>>,
}

impl TpmKeys {
    /// Begins with where the TPM is, as the TCG's tools name it (`device:/dev/tpmrm0`,
    /// `swtpm:host=localhost,port=2321`, `swtpm:path=/run/swtpm.sock`), and with the folder to keep
    /// the wrapped key in.
    ///
    /// Use the device with the resource manager (`tpmrm`): on the other one, keys stay loaded when
    /// a process is killed.
    ///
    /// # Errors
    /// `invalid_configuration` when the address cannot be understood.
    pub fn builder(tcti: &str, folder: impl Into<PathBuf>) -> Result<TpmKeysBuilder, Error> {
        Ok(TpmKeysBuilder::new(tcti.parse()?, folder.into()))
    }

    pub(crate) fn new(tpm: Tpm, algorithm: Algorithm, folder: PathBuf, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { tpm: Arc::new(tpm), algorithm, folder, clock, current: Mutex::default() }))
    }
}

impl KeyProvider for TpmKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let inner = Arc::clone(&self.0);
        let dir = match spawn_blocking(move || inner.find()).await?? {
            Ok(key) => return Ok(SharedSigningKey::new(key)),
            Err(dir) => dir,
        };
        let lock = dir.lock(LOCK, &self.0.clock, PATIENCE).await?;
        let inner = Arc::clone(&self.0);
        let key = spawn_blocking(move || inner.make(&dir, &lock)).await??;
        Ok(SharedSigningKey::new(key))
    }
}

/// What is where the key should be.
enum Seen {
    Key(TpmKey),
    Nothing,
    Unusable(String),
}

impl Inner {
    /// The key there is, or the folder to make it in.
    fn find(&self) -> Result<Result<TpmKey, PrivateDir>, Error> {
        // Held throughout: some TPMs serve one connection at a time, and the first caller's key keeps it.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = still_there(&mut current)? {
            return Ok(Ok(key));
        }
        let dir = PrivateDir::open(&self.folder)?;
        Ok(match self.look(&dir)? {
            Seen::Key(key) => Ok(current.insert(key).clone()),
            Seen::Nothing | Seen::Unusable(_) => Err(dir),
        })
    }

    /// The key that somebody made while we waited for the lock, or a new one.
    fn make(&self, dir: &PrivateDir, lock: &FileLock) -> Result<TpmKey, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = still_there(&mut current)? {
            return Ok(key);
        }
        let path = dir.path().join(self.file());
        match self.look(dir)? {
            Seen::Key(key) => return Ok(current.insert(key).clone()),
            Seen::Nothing => (),
            Seen::Unusable(flaw) => {
                tracing::warn!(file = %path.display(), flaw, "a stored key cannot be used; set aside, and a new one is made");
                dir.set_aside(self.file(), lock)?;
            }
        }
        let blob = self.tpm.create(self.algorithm)?;
        let key = self.load(blob.clone())?;
        dir.replace(self.file(), &blob.to_bytes(), lock)?;
        tracing::info!(file = %path.display(), "had the TPM make a key, and stored it wrapped");
        Ok(current.insert(key).clone())
    }

    fn look(&self, dir: &PrivateDir) -> Result<Seen, Error> {
        let bytes = match dir.read(self.file())? {
            StoredFile::Absent => return Ok(Seen::Nothing),
            StoredFile::Content(bytes) => bytes,
            StoredFile::Unusable(flaw) => return Ok(Seen::Unusable(flaw.to_string())),
            _ => return Ok(Seen::Unusable("cannot be used".into())),
        };
        let blob = Blob::from_bytes(&bytes).filter(|blob| self.algorithm.read(&blob.public).is_some());
        let Some(blob) = blob else {
            return Ok(Seen::Unusable("is damaged, or is no key that a TPM made for itself".into()));
        };
        match self.load(blob) {
            Ok(key) => Ok(Seen::Key(key)),
            Err(Failure::Gone) => Ok(Seen::Unusable("is of another TPM, or of before it was cleared".into())),
            Err(failure) => Err(failure.into()),
        }
    }

    fn load(&self, blob: Blob) -> Result<TpmKey, Failure> {
        let loaded = self.tpm.load(&blob)?;
        let key = TpmKey::new(Arc::clone(&self.tpm), self.algorithm, blob, loaded);
        key.ok_or(Failure::Nonsense("TPM2_Create"))
    }

    fn file(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Rsa2048 => "rsa-2048.tpm",
            Algorithm::P256 => "p-256.tpm",
        }
    }
}

/// The key there is, if the TPM still has it.
fn still_there(current: &mut Option<TpmKey>) -> Result<Option<TpmKey>, Error> {
    let Some(key) = current.as_ref() else { return Ok(None) };
    match key.is_there() {
        Ok(()) => Ok(Some(key.clone())),
        Err(Failure::Gone) => {
            *current = None;
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}

impl fmt::Debug for TpmKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmKeys")
            .field("tpm", &self.0.tpm)
            .field("folder", &self.0.folder)
            .finish_non_exhaustive()
    }
}
