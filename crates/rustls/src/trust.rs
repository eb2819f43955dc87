//! Root certificates, by which server certificates are verified.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use symbolon_types::{Error, catch_panic};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

/// The variable with a file of additional roots.
pub(crate) const CERT_FILE_VARIABLE: &str = "SSL_CERT_FILE";

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
type LoadingVerifier = watch::Receiver<Option<Arc<WebPkiServerVerifier>>>;

/// The sources of roots.
#[derive(Clone, Debug)]
pub(crate) struct RootSources {
    /// Roots from the builder.
    pub(crate) given: RootCertStore,
    /// True if the roots of the platform are trusted.
    pub(crate) platform: bool,
    /// The file of `SSL_CERT_FILE`.
    pub(crate) file: Option<PathBuf>,
}

/// The error of loading the roots.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(
        "SSL_CERT_FILE names {path:?}, which is not a readable file of certificates in PEM; correct it or unset it"
    )]
    File { path: PathBuf, source: pem::Error },
    #[error("SSL_CERT_FILE names {path:?}, which holds no certificate; correct it or unset it")]
    EmptyFile { path: PathBuf },
    #[error(
        "SSL_CERT_FILE names {path:?}, in which certificate {position} is malformed; correct it or unset it"
    )]
    MalformedCertificate { path: PathBuf, position: usize, source: rustls::Error },
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
    pub(crate) async fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
        loop {
            let (mut loading, own_load) = self.join_or_load();
            if let Some(load) = own_load {
                let load = load.map_err(|_| TrustError::Interrupted)?;
                load.await.map_err(|_| TrustError::Interrupted)??;
            }
            if let Ok(loaded) = loading.wait_for(Option::is_some).await
                && let Some(verifier) = &*loaded
            {
                return Ok(Arc::clone(verifier));
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
                let roots = Arc::new(sources.load()?);
                let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
                sender.send_replace(Some(built.map_err(TrustError::NoRoots)?));
                Ok(())
            })
        });
        *verifier = Some(loading.clone());
        (loading, Some(load))
    }
}

impl RootSources {
    fn load(self) -> Result<RootCertStore, TrustError> {
        let mut roots = self.given;
        if self.platform {
            let certificates = platform_certificates();
            let found = certificates.len();
            // Platforms still ship roots that are unparsable by today's rules.
            let (added, _ignored) = roots.add_parsable_certificates(certificates);
            tracing::debug!(found, added, "read the root certificates of the platform");
        }
        if let Some(path) = self.file {
            add_file(&mut roots, path)?;
        }
        Ok(roots)
    }
}

fn add_file(roots: &mut RootCertStore, path: PathBuf) -> Result<(), TrustError> {
    let unreadable = |source| TrustError::File { path: path.clone(), source };
    let mut position = 0;
    for certificate in CertificateDer::pem_file_iter(&path).map_err(unreadable)? {
        position += 1;
        if let Err(source) = roots.add(certificate.map_err(unreadable)?) {
            return Err(TrustError::MalformedCertificate { path, position, source });
        }
    }
    if position == 0 { Err(TrustError::EmptyFile { path }) } else { Ok(()) }
}

/// Returns the platform's own roots. The loader would read `SSL_CERT_FILE` *instead*, so it is
/// given the locations where the platform keeps its roots.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform_certificates() -> Vec<CertificateDer<'static>> {
    use std::path::Path;

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
        std::fs::write(&file, one.cert.pem()).unwrap();
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
