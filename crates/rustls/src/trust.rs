//! Root certificates, by which server certificates are verified.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use symbolon_types::{Error, catch_panic, read_file};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::pem_text::{MAX_SIZE, PemBlocks, decode_utf16};

/// The variable with a file of additional roots.
pub(crate) const CERT_FILE_VARIABLE: &str = "SSL_CERT_FILE";
/// The variable with folders of additional roots.
pub(crate) const CERT_DIR_VARIABLE: &str = "SSL_CERT_DIR";
/// The number of skipped roots that an error names.
const MAX_SKIPPED: usize = 8;

/// The roots, read when first needed: those of the platform take tens of milliseconds.
#[derive(Debug)]
pub(crate) struct Trust {
    sources: RootSources,
    provider: Arc<CryptoProvider>,
    verifier: Mutex<Option<LoadingVerifier>>,
}

/// A load of the roots that was started, unless no thread could be.
type VerifierLoad = Result<JoinHandle<Result<(), TrustError>>, Error>;
/// Receives the verifier from the thread that loads the roots, which no runtime has to drive. It is
/// closed without a verifier if the load fails.
type LoadingVerifier = watch::Receiver<Option<ServerTrust>>;

/// The verification of server certificates by the roots.
#[derive(Clone, Debug)]
pub(crate) struct ServerTrust {
    pub(crate) verifier: Arc<WebPkiServerVerifier>,
    /// The additional roots that could not be read, in words.
    pub(crate) skipped: Option<Arc<str>>,
}

/// The sources of roots.
#[derive(Clone, Debug)]
pub(crate) struct RootSources {
    /// Roots from the builder.
    pub(crate) given: RootCertStore,
    /// True if the roots of the platform are trusted.
    pub(crate) platform: bool,
    /// The file of `SSL_CERT_FILE`.
    pub(crate) file: Option<PathBuf>,
    /// The list of `SSL_CERT_DIR`.
    pub(crate) folders: Option<String>,
}

/// The roots, while they are loaded.
struct RootLoad {
    store: RootCertStore,
    skipped: Vec<String>,
}

/// The error of loading the roots.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("SSL_CERT_FILE names {path:?}, which cannot be read; correct it or unset it")]
    File { path: PathBuf, source: io::Error },
    #[error("SSL_CERT_FILE names {path:?}, which holds no certificate in PEM; convert, correct or unset it")]
    EmptyFile { path: PathBuf },
    #[error(
        "SSL_CERT_FILE names {path:?}, in which all {count} certificates are malformed; correct it or unset it"
    )]
    MalformedFile { path: PathBuf, count: usize },
    #[error("root certificate {position} of the server's own is malformed; correct it")]
    Private { position: usize, source: rustls::Error },
    #[error("no root certificate is trusted; install those of the platform or add one")]
    NoRoots(#[source] VerifierBuilderError),
    #[error(
        "the root certificates could not be read because no thread could be started or the runtime is shutting down"
    )]
    Interrupted,
}

impl Trust {
    pub(crate) fn new(sources: RootSources, provider: Arc<CryptoProvider>) -> Self {
        Self { sources, provider, verifier: Mutex::default() }
    }

    /// Returns the verifier. Loads the roots once, on a blocking thread; concurrent callers wait,
    /// and a failure is not cached.
    pub(crate) async fn verifier(&self) -> Result<ServerTrust, TrustError> {
        loop {
            let (mut loading, own_load) = self.join_or_load();
            if let Some(load) = own_load {
                let load = load.map_err(|_| TrustError::Interrupted)?;
                load.await.map_err(|_| TrustError::Interrupted)??;
            }
            if let Ok(loaded) = loading.wait_for(Option::is_some).await
                && let Some(trust) = &*loaded
            {
                return Ok(trust.clone());
            }
        }
    }

    /// Returns the receiver of a load, and the load itself if this caller starts it.
    fn join_or_load(&self) -> (LoadingVerifier, Option<VerifierLoad>) {
        let mut verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loading) = &*verifier
            && (loading.borrow().is_some() || loading.has_changed().is_ok())
        {
            return (loading.clone(), None);
        }
        let (sender, loading) = watch::channel(None);
        let (sources, provider) = (self.sources.clone(), Arc::clone(&self.provider));
        // Tokio panics if no thread can be started.
        let load = catch_panic("the reader of root certificates", || {
            spawn_blocking(move || {
                let RootLoad { store, skipped } = sources.load()?;
                let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
                let verifier = built.map_err(TrustError::NoRoots)?;
                sender.send_replace(Some(ServerTrust { verifier, skipped: in_words(&skipped) }));
                Ok(())
            })
        });
        *verifier = Some(loading.clone());
        (loading, Some(load))
    }
}

/// Returns a verifier with these roots and no others.
pub(crate) fn private_verifier(
    roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        let unusable = |source| TrustError::Private { position: index + 1, source };
        store.add(root.clone()).map_err(unusable)?;
    }
    let provider = Arc::clone(provider);
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .map_err(TrustError::NoRoots)
}

impl RootSources {
    fn load(self) -> Result<RootLoad, TrustError> {
        let mut roots = RootLoad { store: self.given, skipped: Vec::new() };
        if self.platform {
            let certificates = platform_certificates();
            let found = certificates.len();
            // Platforms still ship roots that are unparsable by today's rules.
            let (added, _ignored) = roots.store.add_parsable_certificates(certificates);
            tracing::debug!(found, added, "read the root certificates of the platform");
        }
        if let Some(path) = self.file {
            roots.add_file(path)?;
        }
        for folder in self.folders.iter().flat_map(std::env::split_paths) {
            roots.add_folder(&folder);
        }
        Ok(roots)
    }
}

impl RootLoad {
    fn add_file(&mut self, path: PathBuf) -> Result<(), TrustError> {
        let certificates = match read(&path) {
            Ok(certificates) => certificates,
            Err(source) => return Err(TrustError::File { path, source }),
        };
        match (self.add(CERT_FILE_VARIABLE, &path, &certificates), certificates.len()) {
            (_, 0) => Err(TrustError::EmptyFile { path }),
            (0, count) => Err(TrustError::MalformedFile { path, count }),
            _ => Ok(()),
        }
    }

    /// Adds the roots in the files of a folder. A folder has links under several names to each
    /// file, and other files, which are ignored.
    fn add_folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                return self.skip(format!("the folder {folder:?} of {CERT_DIR_VARIABLE} ({error})"));
            }
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort_unstable();
        let mut seen = HashSet::new();
        for path in paths {
            // A link may lead nowhere.
            let Ok(path) = path.canonicalize() else { continue };
            if !path.is_file() || !seen.insert(path.clone()) {
                continue;
            }
            match read(&path) {
                Ok(certificates) => {
                    self.add(CERT_DIR_VARIABLE, &path, &certificates);
                }
                Err(error) => self.skip(format!("{path:?} of {CERT_DIR_VARIABLE} ({error})")),
            }
        }
    }

    /// Adds the certificates that can be read, and returns their number.
    fn add(
        &mut self,
        variable: &str,
        path: &Path,
        certificates: &[Option<CertificateDer<'static>>],
    ) -> usize {
        let mut added = 0;
        for (index, certificate) in certificates.iter().enumerate() {
            match certificate.as_ref().is_some_and(|certificate| self.store.add(certificate.clone()).is_ok())
            {
                true => added += 1,
                false => self.skip(format!(
                    "certificate {} of {} in {path:?} ({variable}), which is malformed",
                    index + 1,
                    certificates.len()
                )),
            }
        }
        added
    }

    fn skip(&mut self, root: String) {
        tracing::warn!("skipped a root certificate: {root}");
        self.skipped.push(root);
    }
}

fn read(path: &Path) -> io::Result<Vec<Option<CertificateDer<'static>>>> {
    let text = read_file(path, MAX_SIZE)?;
    Ok(certificates_of(&text))
}

/// Returns the certificates in a PEM text, with `None` for each malformed one.
pub(crate) fn certificates_of(text: &[u8]) -> Vec<Option<CertificateDer<'static>>> {
    let decoded = decode_utf16(text);
    let text = decoded.as_deref().map_or(text, Vec::as_slice);
    let certificates = PemBlocks::of(text).filter_map(|block| match block {
        Ok(block) => (block.label == b"CERTIFICATE").then(|| Some(block.decode()?.to_vec().into())),
        Err(unfinished) => (unfinished.label == b"CERTIFICATE").then_some(None),
    });
    certificates.collect()
}

/// Returns the skipped roots in words, the first of them if there are many.
fn in_words(skipped: &[String]) -> Option<Arc<str>> {
    let (named, others) = skipped.split_at(skipped.len().min(MAX_SKIPPED));
    let mut words = named.join(", ");
    if !others.is_empty() {
        words.push_str(&format!(" and {} others", others.len()));
    }
    (!words.is_empty()).then(|| words.into())
}

/// Returns the platform's own roots. The loader would read `SSL_CERT_FILE` *instead*, so it is
/// given the locations where the platform keeps its roots.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform_certificates() -> Vec<CertificateDer<'static>> {
    use rustls_native_certs::load_certs_from_paths;
    use symbolon_types::Env;

    // The probe prefers the file of the process's variable, too.
    let named = Env::process().var(CERT_FILE_VARIABLE);
    let is_named = |file: &PathBuf| named.as_ref().is_some_and(|named| Path::new(named) == file);
    let bundle = openssl_probe::probe().cert_file.filter(|file| !is_named(file));
    let mut certificates = load_certs_from_paths(bundle.as_deref(), None).certs;
    for directory in openssl_probe::candidate_cert_dirs() {
        certificates.extend(load_certs_from_paths(None, Some(directory)).certs);
    }
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certificates.dedup();
    certificates
}

/// Returns the platform's own roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` of the process
/// if one of them is set: the loader cannot ignore them here.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn platform_certificates() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

#[cfg(test)]
#[cfg(all(unix, not(target_vendor = "apple")))]
mod tests {
    use std::process::Command;

    use symbolon_types::Env;

    use super::*;

    /// Set in a child process that prints the number of roots it finds.
    const COUNTING: &str = "SYMBOLON_TEST_COUNTS_ROOTS";

    #[test]
    fn process_variables_keep_platform_roots() {
        if Env::process().var(COUNTING).is_some() {
            println!("\nroots of the platform: {}", platform_certificates().len());
            return;
        }
        let expected = counted(&[]);
        if expected.ends_with(": 0") {
            println!("skipped: this platform has no roots");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("one.pem");
        let one = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
        fs::write(&file, one.cert.pem()).unwrap();
        for (variable, path) in [("SSL_CERT_FILE", file.as_path()), ("SSL_CERT_DIR", directory.path())] {
            assert_eq!(counted(&[(variable, path.to_str().unwrap())]), expected, "{variable}");
        }
    }

    /// Runs this test in another process, because it cannot change the variables of its own.
    fn counted(variables: &[(&str, &str)]) -> String {
        let name = "trust::tests::process_variables_keep_platform_roots";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(COUNTING, "1")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output.lines().find(|line| line.starts_with("roots of the platform: ")).unwrap().to_owned()
    }
}
