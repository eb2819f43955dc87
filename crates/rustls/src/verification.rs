//! The verification of servers for another TLS library.

use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use symbolon_types::SharedClock;

use crate::client_auth::ClientAuthRecord;
use crate::error::{RootsNote, TlsError};

/// The verification of servers for another TLS library, by the roots, pins and rules of the
/// configurations of rustls. That library verifies that the server has the key of its certificate.
#[derive(Clone, Debug)]
pub struct ServerVerification {
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
    pub(crate) roots: RootsNote,
    pub(crate) clock: SharedClock,
}

impl ServerVerification {
    /// Verifies the certificates of a server, leaf first.
    ///
    /// # Errors
    /// [`rustls::Error::InvalidCertificate`], or another error if there is no certificate.
    pub fn verify(&self, chain: &[CertificateDer<'_>], server: &ServerName<'_>) -> Result<(), rustls::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let now =
            self.clock.now().duration_since(UNIX_EPOCH).map_err(|_| rustls::Error::FailedToGetCurrentTime)?;
        let now = UnixTime::since_unix_epoch(now);
        self.verifier.verify_server_cert(leaf, intermediates, server, &[], now).map(|_| ())
    }

    /// Returns the error of a failed handshake. `server` is `name:port`.
    #[must_use]
    pub fn handshake_error(&self, error: io::Error, record: &ClientAuthRecord, server: &str) -> TlsError {
        TlsError::of_handshake(error, record).of_server(server).with_roots(&self.roots)
    }
}
