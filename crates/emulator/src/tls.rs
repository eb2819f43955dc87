//! The TLS side of the token service and the resource.

use std::collections::HashSet;
use std::fmt;
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

use crate::ca::CertificateAuthority;
use crate::entry::TlsVersion;
use crate::error::Error;

/// TLS sessions kept for resumption: rustls' own default.
const SESSIONS: usize = 256;
/// The only application protocol (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificates that the TLS servers refuse, and the sessions that would let one slip by.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Whether every certificate is refused.
    all: bool,
    certificates: Mutex<HashSet<Thumbprint>>,
    sessions: Mutex<Vec<Arc<Sessions>>>,
}

impl Refusals {
    /// Of every certificate.
    pub(crate) fn of_all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Refuses a certificate in every handshake from now on. All sessions are forgotten, because a
    /// resumed one would not show the certificate again.
    pub(crate) fn refuse(&self, certificate: Thumbprint) {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).insert(certificate);
        for sessions in self.sessions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sessions.forget();
        }
    }

    pub(crate) fn contains(&self, certificate: Thumbprint) -> bool {
        self.all || self.certificates.lock().unwrap_or_else(PoisonError::into_inner).contains(&certificate)
    }

    fn sessions(&self) -> Arc<Sessions> {
        let sessions = Arc::new(Sessions(RwLock::new(ServerSessionMemoryCache::new(SESSIONS))));
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&sessions));
        sessions
    }
}

/// Without the certificates' names: their number says enough.
impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Refusals").field("certificates", &certificates).finish_non_exhaustive()
    }
}

/// A configuration that asks for a client certificate, without insisting on one.
pub(crate) fn server_config(
    ca: &CertificateAuthority,
    (certificate, pkcs8): &(Vec<u8>, Vec<u8>),
    versions: &[TlsVersion],
    clock: &SharedClock,
    refusals: &Arc<Refusals>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientCertificates::new(ca, Arc::clone(&provider), Arc::clone(refusals))?;
    let chain = vec![CertificateDer::from(certificate.clone())];
    let key = PrivateKeyDer::Pkcs8(pkcs8.clone().into());
    let versions: Vec<_> = versions.iter().map(|version| supported(*version)).collect();
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock.clone())))
        .with_protocol_versions(&versions)
        .map_err(Error::certificate)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)
        .map_err(Error::certificate)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.session_storage = refusals.sessions();
    Ok(Arc::new(config))
}

fn supported(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &rustls::version::TLS12,
        TlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

/// The injected clock, for rustls.
#[derive(Debug)]
struct Time(SharedClock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Sessions that can all be forgotten at once.
#[derive(Debug)]
struct Sessions(RwLock<Arc<ServerSessionMemoryCache>>);

impl Sessions {
    fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ServerSessionMemoryCache::new(SESSIONS);
    }

    fn current(&self) -> Arc<ServerSessionMemoryCache> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoresServerSessions for Sessions {
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

/// Takes client certificates of the emulator's own authority.
///
/// Their validity is left to the endpoints: Entra answers an outlived certificate with an OAuth
/// error (AADSTS1000901), not with a TLS alert.
#[derive(Debug)]
struct ClientCertificates {
    webpki: Arc<dyn ClientCertVerifier>,
    refusals: Arc<Refusals>,
}

impl ClientCertificates {
    fn new(
        ca: &CertificateAuthority,
        provider: Arc<CryptoProvider>,
        refusals: Arc<Refusals>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec())).map_err(Error::certificate)?;
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(Error::certificate)?;
        Ok(Self { webpki, refusals })
    }
}

impl ClientCertVerifier for ClientCertificates {
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
        if self.refusals.contains(Thumbprint::of(end_entity)) {
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

/// The first second of a certificate's validity.
fn first_valid(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_before.timestamp();
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).ok()?)))
}
