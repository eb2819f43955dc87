//! TLS of the token service and the resource.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use symbolon_types::{SharedClock, Thumbprint};

use crate::error::Error;
use crate::pki::authority::CertificateAuthority;
use crate::pki::tls_session::TlsVersion;

/// The number of TLS sessions kept for resumption, the default of rustls.
const SESSIONS: usize = 256;
/// The application protocols (RFC 7301 §6, RFC 9113 §3.2).
const HTTP_1_1: &[u8] = b"http/1.1";
pub(crate) const HTTP_2: &[u8] = b"h2";

/// The client certificates that the TLS servers refuse, and the resumable sessions, which would
/// bypass the check.
#[derive(Debug, Default)]
pub(crate) struct RefusedCertificates {
    /// Every certificate is refused.
    all: bool,
    certificates: Mutex<HashSet<Thumbprint>>,
    sessions: Mutex<Vec<Arc<ResettableSessions>>>,
}

impl RefusedCertificates {
    /// Refuses every certificate.
    pub(crate) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Refuses a certificate in every later handshake. All sessions are dropped, because a resumed
    /// session does not present the certificate again.
    pub(crate) fn refuse(&self, certificate: Thumbprint) {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).insert(certificate);
        for sessions in self.sessions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sessions.clear();
        }
    }

    pub(crate) fn contains(&self, certificate: Thumbprint) -> bool {
        self.all || self.certificates.lock().unwrap_or_else(PoisonError::into_inner).contains(&certificate)
    }

    fn sessions(&self) -> Arc<ResettableSessions> {
        let sessions = Arc::new(ResettableSessions(RwLock::new(ServerSessionMemoryCache::new(SESSIONS))));
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&sessions));
        sessions
    }
}

/// Returns a configuration that requests a client certificate without requiring it, and offers
/// HTTP/1.1.
pub(crate) fn server_config(
    ca: &CertificateAuthority,
    (certificate, pkcs8): &(Vec<u8>, Vec<u8>),
    versions: &[TlsVersion],
    clock: &SharedClock,
    refused: &Arc<RefusedCertificates>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientCertificateVerifier::new(ca, Arc::clone(&provider), Arc::clone(refused))?;
    let chain = vec![CertificateDer::from(certificate.clone())];
    let key = PrivateKeyDer::Pkcs8(pkcs8.clone().into());
    let versions: Vec<_> = versions.iter().map(|version| supported(*version)).collect();
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(HandshakeClock(clock.clone())))
        .with_protocol_versions(&versions)
        .map_err(Error::certificate)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)
        .map_err(Error::certificate)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.session_storage = refused.sessions();
    Ok(Arc::new(config))
}

/// Returns the same configuration with HTTP/2 preferred.
pub(crate) fn with_http2(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols.insert(0, HTTP_2.to_vec());
    Arc::new(config)
}

fn supported(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &rustls::version::TLS12,
        TlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

/// The injected clock as a rustls time provider.
#[derive(Debug)]
struct HandshakeClock(SharedClock);

impl TimeProvider for HandshakeClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// A session store that can be cleared.
#[derive(Debug)]
struct ResettableSessions(RwLock<Arc<ServerSessionMemoryCache>>);

impl ResettableSessions {
    fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ServerSessionMemoryCache::new(SESSIONS);
    }

    fn current(&self) -> Arc<ServerSessionMemoryCache> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoresServerSessions for ResettableSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.current().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().take(key)
    }

    fn can_cache(&self) -> bool {
        self.current().can_cache()
    }
}

/// A verifier that accepts client certificates of the emulator's authority.
///
/// The endpoints check the validity: Entra answers an expired certificate with an OAuth error
/// (AADSTS1000901, docs/protocol/errors.md#refused-client-authentication), not with a TLS alert.
#[derive(Debug)]
struct ClientCertificateVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    refused: Arc<RefusedCertificates>,
}

impl ClientCertificateVerifier {
    fn new(
        ca: &CertificateAuthority,
        provider: Arc<CryptoProvider>,
        refused: Arc<RefusedCertificates>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec())).map_err(Error::certificate)?;
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(Error::certificate)?;
        Ok(Self { webpki, refused })
    }
}

impl ClientCertVerifier for ClientCertificateVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let during_validity = first_valid(end_entity).ok_or(CertificateError::BadEncoding)?;
        let verified = self.webpki.verify_client_cert(end_entity, intermediates, during_validity)?;
        if self.refused.contains(Thumbprint::of(end_entity)) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Returns the first second of a certificate's validity.
fn first_valid(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_before.timestamp();
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).ok()?)))
}
