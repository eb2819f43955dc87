//! Connections to origins, with TLS and the client's certificate.

use std::sync::Arc;

use symbolon_rustls::rustls::{HandshakeKind, ProtocolVersion};
use symbolon_rustls::{ClientAuthRecord, ClientConfigs, TlsClient};
use symbolon_transport::{Route, TransportError, TransportErrorKind};
use symbolon_types::{CertificatePin, ClientIdentity};

use crate::classify::{self, NewConnectionError};
use crate::connect::connect;
use crate::origin::HttpOrigin;
use crate::proxy::{Proxies, Proxy};
use crate::stream::HttpStream;

/// Opens connections, directly or through the proxy of the environment.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: ClientConfigs,
    proxies: Proxies,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfigs, proxies: Proxies) -> Self {
        Self { tls, proxies }
    }

    /// Drops a TLS client, so that the next handshake is a full one.
    pub(crate) fn forget(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
        client: &Arc<TlsClient>,
    ) {
        self.tls.forget(identity, pinned_server, client);
    }

    pub(crate) fn proxy_for(&self, route: Route, origin: &HttpOrigin) -> Option<Proxy> {
        self.proxies.proxy_for(route, origin)
    }

    /// Returns the TLS client of an identity and a pin. Roots and key are loaded before connecting,
    /// so that no connection waits for them.
    pub(crate) async fn tls_client(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Result<Arc<TlsClient>, NewConnectionError> {
        self.tls.client(identity, pinned_server).await.map_err(classify::tls_failed)
    }

    /// Opens a connection, with TLS if there is a TLS client.
    pub(crate) async fn open(
        &self,
        origin: &HttpOrigin,
        proxy: Option<&Proxy>,
        tls: Option<&TlsClient>,
        record: &ClientAuthRecord,
    ) -> Result<HttpStream, NewConnectionError> {
        let stream = connect(origin, proxy).await?;
        let Some(tls) = tls else { return Ok(HttpStream::new(stream, false)) };
        let name = origin
            .server_name()
            .map_err(|error| TransportError::new(TransportErrorKind::Tls).with_source(error))?;
        let stream = tls.connect(name, stream, record).await.map_err(classify::tls_failed)?;
        let (_, connection) = stream.get_ref();
        let is_http2 = connection.alpn_protocol() == Some(b"h2");
        tracing::debug!(
            origin = %origin,
            version = connection.protocol_version().map_or("unknown", name_of),
            is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed),
            has_identity = tls.has_identity(),
            is_http2,
            "TLS handshake"
        );
        Ok(HttpStream::new(stream, is_http2))
    }
}

fn name_of(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "unknown",
    }
}
