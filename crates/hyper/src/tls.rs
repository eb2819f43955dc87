//! The interface between connections and a TLS library.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use symbolon_rustls::pki_types::ServerName;
use symbolon_rustls::rustls::{HandshakeKind, ProtocolVersion};
use symbolon_rustls::{ClientAuthRecord, ClientConfigs, TlsClient, TlsError};
use symbolon_types::{ClientIdentity, ServerAuth};

use crate::stream::AsyncStream;

/// A TLS library with its settings, over which [`Connections`](crate::Connections) and
/// [`HyperTransport`](crate::HyperTransport) connect. The default is rustls; the crate
/// `symbolon-openssl` has another one.
///
/// Errors are those of rustls, whatever the library, so that all are classified by the same rules.
#[async_trait]
pub trait TlsBackend: Debug + Send + Sync + 'static {
    /// Returns the client of an identity and a server authentication, with their certificates, keys
    /// and roots loaded, so that no connection waits for them.
    ///
    /// # Errors
    /// [`TlsError`] if the roots cannot be loaded or the key cannot be used.
    async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<dyn TlsBackendClient>, TlsError>;

    /// Performs a handshake with a proxy. It gets no client certificate, so no identity is passed.
    ///
    /// # Errors
    /// [`TlsError`] if the handshake fails or the roots cannot be loaded.
    async fn connect_to_proxy(
        &self,
        proxy: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
    ) -> Result<Box<dyn AsyncStream>, TlsError>;

    /// Returns true if the library presents the certificate also after the handshake.
    fn renegotiates(&self) -> bool;
}

/// The TLS client of one identity, or of none.
#[async_trait]
pub trait TlsBackendClient: Debug + Send + Sync {
    /// Performs a handshake. With an identity, it succeeds only if the server requested the
    /// certificate, or if it [may request it later](TlsBackend::renegotiates).
    ///
    /// `record` is a new record. The library keeps it up to date as long as the stream is used.
    ///
    /// # Errors
    /// [`TlsError`] if the handshake fails.
    async fn connect(
        &self,
        server: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
        record: &ClientAuthRecord,
        may_request_late: bool,
    ) -> Result<TlsConnection, TlsError>;

    /// Drops the sessions, so that the next handshake is a full one.
    fn forget_sessions(&self);
}

/// A TLS connection after its handshake.
#[derive(Debug)]
pub struct TlsConnection {
    pub(crate) stream: Box<dyn AsyncStream>,
    pub(crate) is_http2: bool,
    pub(crate) version: &'static str,
    pub(crate) is_resumed: bool,
}

impl TlsConnection {
    /// Creates a connection for HTTP/1.1. `version` is that of TLS, such as `1.3`, for the log.
    pub fn new(stream: impl AsyncStream + 'static, version: &'static str) -> Self {
        Self { stream: Box::new(stream), is_http2: false, version, is_resumed: false }
    }
}

/// Makes the TLS library from its settings.
pub(crate) type MakeBackend = fn(ClientConfigs) -> Arc<dyn TlsBackend>;

pub(crate) fn rustls_backend(configs: ClientConfigs) -> Arc<dyn TlsBackend> {
    Arc::new(configs)
}

/// rustls, the default.
#[async_trait]
impl TlsBackend for ClientConfigs {
    async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<dyn TlsBackendClient>, TlsError> {
        let client: Arc<TlsClient> = Self::client(self, identity, server).await?;
        Ok(client)
    }

    async fn connect_to_proxy(
        &self,
        proxy: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
    ) -> Result<Box<dyn AsyncStream>, TlsError> {
        Ok(Box::new(Self::connect_to_proxy(self, proxy, port, stream).await?))
    }

    fn renegotiates(&self) -> bool {
        false
    }
}

#[async_trait]
impl TlsBackendClient for TlsClient {
    async fn connect(
        &self,
        server: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
        record: &ClientAuthRecord,
        _may_request_late: bool,
    ) -> Result<TlsConnection, TlsError> {
        let stream = Self::connect(self, server, port, stream, record).await?;
        let (_, connection) = stream.get_ref();
        Ok(TlsConnection {
            is_http2: connection.alpn_protocol() == Some(b"h2"),
            version: connection.protocol_version().map_or("unknown", name_of),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            stream: Box::new(stream),
        })
    }

    fn forget_sessions(&self) {
        Self::forget_sessions(self);
    }
}

fn name_of(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "unknown",
    }
}
