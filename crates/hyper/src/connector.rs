//! Connections to origins, with TLS and the client's certificate.

use std::sync::Arc;

use symbolon_rustls::ClientAuthRecord;
use symbolon_transport::{PhaseCell, RequestPhase, Route, TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, ServerAuth, SharedClock, SharedObserver};
use tokio::runtime::{Handle, Id};

use crate::classify::{self, NewConnectionError};
use crate::connect::{TcpConnection, connect, connect_to, resolve};
use crate::handshake_observation::HandshakeObservation;
use crate::origin::{HttpOrigin, server_name};
use crate::proxy::{Proxies, Proxy, ProxyProtocol};
use crate::stream::{AsyncStream, HttpStream};
use crate::tls::{TlsBackend, TlsBackendClient, TlsConnection};
use crate::tunnel::{self, ProxyTlsStream};

/// The client authentication of a new connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientAuth {
    pub(crate) record: ClientAuthRecord,
    pub(crate) has_identity: bool,
    /// True if the server may request the certificate after the handshake.
    pub(crate) may_request_late: bool,
}

impl ClientAuth {
    /// Returns true if there is an identity that was not presented.
    pub(crate) fn is_missing(&self) -> bool {
        self.has_identity && !self.record.is_presented()
    }
}

/// Opens connections, directly or through the proxy of the environment.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: Arc<dyn TlsBackend>,
    proxies: Proxies,
    clock: SharedClock,
    observer: SharedObserver,
}

impl Connector {
    pub(crate) fn new(tls: Arc<dyn TlsBackend>, proxies: Proxies, context: &Context) -> Self {
        Self { tls, proxies, clock: context.clock().clone(), observer: context.observer().clone() }
    }

    /// Returns true if the certificate can be presented after the handshake.
    pub(crate) fn renegotiates(&self) -> bool {
        self.tls.renegotiates()
    }

    /// Returns the client authentication of a new connection with this identity. `is_late` is true
    /// if the request permits a late certificate.
    pub(crate) fn client_auth(&self, identity: Option<&ClientIdentity>, is_late: bool) -> ClientAuth {
        ClientAuth {
            record: ClientAuthRecord::default(),
            has_identity: identity.is_some(),
            may_request_late: is_late && self.renegotiates(),
        }
    }

    pub(crate) fn proxy_for(
        &self,
        route: Route,
        origin: &HttpOrigin,
    ) -> Result<Option<&Proxy>, TransportError> {
        self.proxies.proxy_for(route, origin)
    }

    /// Returns what is unusable in the proxy variables, in sentences.
    pub(crate) fn proxy_warnings(&self) -> &[String] {
        self.proxies.warnings()
    }

    /// Returns the TLS client of an identity and a server authentication. Roots and key are loaded
    /// before connecting, so that no connection waits for them.
    pub(crate) async fn tls_client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<dyn TlsBackendClient>, NewConnectionError> {
        self.tls.client(identity, server).await.map_err(classify::tls_failed)
    }

    /// Opens a connection, with TLS if there is a TLS client.
    pub(crate) async fn open(
        &self,
        origin: &HttpOrigin,
        proxy: Option<&Proxy>,
        tls: Option<&dyn TlsBackendClient>,
        client_auth: &ClientAuth,
        server: &ServerAuth,
        phase: &PhaseCell,
    ) -> Result<HttpStream, NewConnectionError> {
        tracing::debug!(origin = %origin, is_proxied = proxy.is_some(), "connecting");
        let Some(tls) = tls else {
            return Ok(HttpStream::new(self.connect(origin, proxy, phase).await?, false, false));
        };
        let has_identity = client_auth.has_identity;
        let observation = HandshakeObservation::start(&self.observer, &self.clock, has_identity);
        let connected = self.open_tls(origin, proxy, tls, client_auth, server, phase).await;
        observation.end(&connected);
        let TlsConnection { stream, is_http2, version, .. } = connected?;
        let refuses_renegotiation = version == "1.2" && !(has_identity && self.renegotiates());
        Ok(HttpStream::new(stream, is_http2, refuses_renegotiation))
    }

    /// Opens a connection without TLS to the origin, through the proxy if there is one.
    async fn connect(
        &self,
        origin: &HttpOrigin,
        proxy: Option<&Proxy>,
        phase: &PhaseCell,
    ) -> Result<Box<dyn AsyncStream>, TransportError> {
        Ok(match proxy {
            None => Box::new(connect(origin, &self.clock, phase).await?),
            Some(proxy) => self.open_tunnel(proxy, origin, phase).await?,
        })
    }

    async fn open_tls(
        &self,
        origin: &HttpOrigin,
        proxy: Option<&Proxy>,
        tls: &dyn TlsBackendClient,
        client_auth: &ClientAuth,
        server: &ServerAuth,
        phase: &PhaseCell,
    ) -> Result<TlsConnection, NewConnectionError> {
        let name = match server.name() {
            Some(name) => name.clone(),
            None => server_name(origin.host())?,
        };
        let stream = self.connect(origin, proxy, phase).await?;
        phase.enter(RequestPhase::Handshake);
        let ClientAuth { record, has_identity, may_request_late } = client_auth;
        let connected = tls.connect(name, origin.port(), stream, record, *may_request_late).await;
        let connected = connected.map_err(classify::tls_failed)?;
        let TlsConnection { is_http2, version, is_resumed, .. } = &connected;
        tracing::debug!(origin = %origin, version, is_resumed, has_identity, is_http2, "TLS handshake");
        Ok(connected)
    }

    /// Opens a tunnel to the origin through the proxy.
    async fn open_tunnel(
        &self,
        proxy: &Proxy,
        origin: &HttpOrigin,
        phase: &PhaseCell,
    ) -> Result<Box<dyn AsyncStream>, TransportError> {
        let address = match proxy.protocol() {
            ProxyProtocol::Socks5 => resolve(origin.host(), origin.port(), phase).await?.first().copied(),
            _ => None,
        };
        let addresses = resolve(proxy.host(), proxy.port(), phase).await?;
        let stream = connect_to(addresses, proxy.host(), proxy.port(), &self.clock, phase).await?;
        let stream: Box<dyn AsyncStream> = match proxy.protocol() {
            ProxyProtocol::Https => Box::new(self.tls_to_proxy(proxy, stream, phase).await?),
            _ => Box::new(stream),
        };
        phase.enter(RequestPhase::Tunnel);
        let tunnel = tunnel::open(stream, proxy, origin, address).await;
        tunnel.map_err(|error| error.into_transport_error(proxy))
    }

    /// Performs the TLS handshake with the proxy, which never gets a client certificate.
    async fn tls_to_proxy(
        &self,
        proxy: &Proxy,
        stream: TcpConnection,
        phase: &PhaseCell,
    ) -> Result<ProxyTlsStream<Box<dyn AsyncStream>>, TransportError> {
        let name = server_name(proxy.host())?;
        phase.enter(RequestPhase::Handshake);
        let stream = self.tls.connect_to_proxy(name, proxy.port(), Box::new(stream)).await;
        stream.map(ProxyTlsStream).map_err(classify::proxy_tls_failed)
    }
}

/// Returns the Tokio runtime that drives this future.
pub(crate) fn current_runtime() -> Result<Id, TransportError> {
    let runtime = Handle::try_current().map_err(|error| {
        TransportError::new(TransportErrorKind::Unsupported)
            .with_problem("was not called, because this thread runs no Tokio runtime")
            .with_advice(
                "call it within a Tokio runtime with I/O and time, such as that of `#[tokio::main]`, or use another \
                 transport",
            )
            .with_source(error)
    });
    Ok(runtime?.id())
}
