//! TLS configurations, one for each client identity.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use symbolon_transport::{CertificatePin, TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, SharedClock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::classify;
use crate::client_auth::{ClientAuthRecord, RecordedSessions};
use crate::client_key::CertificateResolver;
use crate::origin::HttpOrigin;
use crate::pinned::PinnedServer;
use crate::trust::Trust;
use crate::version::TlsVersion;

/// Capacity of the session store: rustls counts eight TLS 1.3 tickets for each server, and a client
/// has one token service and a few resources.
const SESSIONS: usize = 8 * 16;
/// The only application protocol (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The common settings of all TLS configurations.
pub(crate) struct TlsFactory {
    provider: Arc<CryptoProvider>,
    minimum: TlsVersion,
    trust: Trust,
    time: Arc<TlsClock>,
}

/// The TLS configuration of one client, with one certificate or without.
#[derive(Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    sessions: Arc<ClientSessionMemoryCache>,
    has_certificate: bool,
}

impl TlsFactory {
    /// Creates a factory. Fails if the provider supports none of the allowed versions.
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        minimum: TlsVersion,
        trust: Trust,
        clock: SharedClock,
    ) -> Result<Self, rustls::Error> {
        for version in minimum.and_later() {
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version])?;
        }
        Ok(Self { provider, minimum, trust, time: Arc::new(TlsClock(clock)) })
    }

    /// Creates the configuration for this identity, which verifies servers by the pin or else by
    /// the roots.
    pub(crate) async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Result<TlsClient, TransportError> {
        let failed = || TransportError::new(TransportErrorKind::Tls);
        let config =
            ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time) as Arc<_>)
                .with_protocol_versions(self.minimum.and_later())
                .map_err(|error| failed().with_source(error))?;
        let config = match pinned_server {
            // The roots are not read.
            Some(pin) => {
                let verifier = Arc::new(PinnedServer::new(pin, &self.provider));
                config.dangerous().with_custom_certificate_verifier(verifier)
            }
            None => {
                let verifier = self.trust.verifier().await.map_err(|error| failed().with_source(error))?;
                config.with_webpki_verifier(verifier)
            }
        };
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(Arc::new(CertificateResolver::of(identity))),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let sessions = Arc::new(ClientSessionMemoryCache::new(SESSIONS));
        config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<_>);
        Ok(TlsClient { config: Arc::new(config), sessions, has_certificate: identity.is_some() })
    }
}

impl TlsClient {
    /// Performs a handshake. With a certificate, it succeeds only if the server requested it, in
    /// this handshake or in the resumed session.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        origin: &HttpOrigin,
        record: &Arc<ClientAuthRecord>,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let name = origin
            .server_name()
            .map_err(|error| TransportError::new(TransportErrorKind::Tls).with_source(error))?;
        let connector = TlsConnector::from(self.config_of(record));
        let handshake = record.observe(connector.connect(name, stream)).await;
        let stream = handshake.map_err(|error| classify::handshake_failed(error, record))?;

        let (_, connection) = stream.get_ref();
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        tracing::debug!(
            origin = %origin,
            version = connection.protocol_version().map_or("unknown", name_of),
            is_resumed,
            has_identity = self.has_certificate,
            "TLS handshake"
        );
        if self.has_certificate {
            if is_resumed {
                record.set_presented();
            }
            if !record.is_presented() {
                return Err(TransportErrorKind::IdentityNotRequested.into());
            }
        }
        Ok(stream)
    }

    /// Returns the configuration for one connection.
    fn config_of(&self, record: &Arc<ClientAuthRecord>) -> Arc<ClientConfig> {
        if !self.has_certificate {
            return Arc::clone(&self.config);
        }
        let sessions = RecordedSessions { shared: Arc::clone(&self.sessions), record: Arc::clone(record) };
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(sessions));
        Arc::new(config)
    }
}

symbolon_types::debug_fields!(TlsFactory: minimum);

fn name_of(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "unknown",
    }
}

/// Adapter from the context's clock to rustls.
#[derive(Debug)]
struct TlsClock(SharedClock);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}
