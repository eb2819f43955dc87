//! Client identities in files that other programs replace.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_types::{ClientIdentity, Context, IdentityCell, SharedClock, Thumbprint, printable, read_file};
use zeroize::Zeroizing;

use super::{ClientIdentityLoader, LoadError};

/// The age at which the files are read again when their certificate is used.
const INTERVAL: Duration = Duration::from_secs(10);
/// The largest file that is read.
const MAX_SIZE: u64 = 1 << 20;
/// The tag of a SEQUENCE in DER.
const DER_SEQUENCE: u8 = 0x30;

/// The files of an identity, and the content that was read last.
struct IdentityFiles {
    loader: ClientIdentityLoader,
    paths: Vec<PathBuf>,
    clock: SharedClock,
    last: Mutex<LastRead>,
}

#[derive(Default)]
struct LastRead {
    /// Of the joined files, usable or not, so that an unusable content is reported once.
    digest: Option<Thumbprint>,
    is_unreadable: bool,
}

impl ClientIdentityLoader {
    /// Loads an identity from files, joined in this order, and follows them: the certificate and
    /// its key in one file or in two, as cert-manager, step, SPIFFE helpers and the CSI driver of
    /// Key Vault write them. PEM, or with the feature `pkcs12` any format of `load`.
    ///
    /// The files are read again for each token request of a `ClientCertificate::rotating`, and when
    /// the certificate is used ten seconds after the last read. Each read opens the paths anew, so
    /// that a renamed file and a replaced link are found. Files that cannot be read, are
    /// incomplete, do not belong together, or have a certificate that has ended, leave the present
    /// identity in place.
    ///
    /// ```no_run
    /// use symbolon_rustls::ClientIdentityLoader;
    /// use symbolon_types::Context;
    ///
    /// let files = ["/var/run/tls/tls.crt", "/var/run/tls/tls.key"];
    /// let certificate = ClientIdentityLoader::new().follow_files(files, &Context::default())?;
    /// println!("the present certificate is {}", certificate.get().thumbprint());
    /// # Ok::<(), symbolon_rustls::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn follow_files(
        self,
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        context: &Context,
    ) -> Result<IdentityCell, LoadError> {
        let paths = paths.into_iter().map(Into::into).collect();
        let clock = context.clock().clone();
        let files = IdentityFiles { loader: self, paths, clock: clock.clone(), last: Mutex::default() };
        let content = files.read().map_err(|(path, error)| LoadError::unreadable(&path, error))?;
        let identity = files.loader.load_any(&content)?;
        files.last().digest = Some(Thumbprint::of(&content));
        Ok(IdentityCell::reloading(identity, INTERVAL, clock, move || files.changed()))
    }

    /// Loads a file of any supported format.
    fn load_any(&self, file: &[u8]) -> Result<ClientIdentity, LoadError> {
        #[cfg(feature = "pkcs12")]
        return self.load(file);
        #[cfg(not(feature = "pkcs12"))]
        self.load_pem(file)
    }
}

impl IdentityFiles {
    /// Returns the identity in the files if their content has changed and is usable.
    fn changed(&self) -> Option<ClientIdentity> {
        let mut last = self.last();
        let content = match self.read() {
            Ok(content) => content,
            Err((path, error)) => {
                if !last.is_unreadable {
                    let path = printable(path.display());
                    tracing::warn!(%path, %error, "a file of the client certificate cannot be read; the last one stays");
                }
                last.is_unreadable = true;
                return None;
            }
        };
        last.is_unreadable = false;
        let digest = Some(Thumbprint::of(&content));
        if last.digest == digest {
            return None;
        }
        last.digest = digest;
        match self.loader.load_any(&content) {
            Ok(identity) if identity.not_after() <= self.clock.now() => {
                tracing::warn!("the new client certificate has expired; the last one stays");
                None
            }
            Ok(identity) => {
                tracing::debug!(thumbprint = %identity.thumbprint(), "the client certificate was replaced");
                Some(identity)
            }
            Err(error) => {
                tracing::warn!(%error, "the files of the client certificate are unusable; the last one stays");
                None
            }
        }
    }

    /// Reads all files, joined. The error has the path of the file.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, (PathBuf, io::Error)> {
        let mut content = Zeroizing::new(Vec::new());
        for path in &self.paths {
            let file = read_file(path, MAX_SIZE).map_err(|error| (path.clone(), error))?;
            // Allocated in full: growing would leave copies of a key behind.
            let mut joined = Zeroizing::new(Vec::with_capacity(content.len() + file.len() + 1));
            joined.extend_from_slice(&content);
            if !joined.is_empty() && joined.first() != Some(&DER_SEQUENCE) {
                joined.push(b'\n');
            }
            joined.extend_from_slice(&file);
            content = joined;
        }
        Ok(content)
    }

    fn last(&self) -> MutexGuard<'_, LastRead> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadError {
    fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::Unreadable { path: printable(path.display()).to_string(), source: Arc::new(error) }
    }
}
