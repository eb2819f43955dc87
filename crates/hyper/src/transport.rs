//! The transport over hyper and rustls.

use std::sync::Arc;

use http::Method;
use http::header::HOST;
use http::uri::PathAndQuery;
use http_body_util::Full;
use symbolon_transport::{
    Capabilities, Idempotence, Request, Response, Route, Transport, TransportError, TransportErrorKind,
};
use symbolon_types::SharedClock;
use url::{Position, Url};

use crate::classify::{self, NewConnectionError};
use crate::connector::{Connector, current_runtime};
use crate::http1::{ExchangeError, Http1Connection, announce_no_content};
use crate::origin::HttpOrigin;
use crate::pool::{ClientConnections, ConnectionKey, Pool};
use crate::proxy::Proxy;

/// The default [`Transport`]: HTTP/1.1 with hyper, TLS 1.2 and 1.3 with rustls.
///
/// Clones are cheap and share connections. Sending needs a Tokio runtime with I/O enabled;
/// creating and dropping it do not.
///
/// ```
/// # use symbolon_hyper::{HyperTransport, TlsVersion};
/// let transport = HyperTransport::builder().minimum_tls(TlsVersion::V1_3).build()?;
/// # Ok::<(), symbolon_hyper::BuildError>(())
/// ```
#[derive(Clone)]
pub struct HyperTransport(Arc<TransportParts>);

struct TransportParts {
    connector: Connector,
    clock: SharedClock,
    pool: Pool,
}

impl HyperTransport {
    /// Returns the proxy of public requests to this URL as `host:port`, without its credentials.
    ///
    /// ```
    /// # use symbolon_hyper::HyperTransport;
    /// # use symbolon_types::Context;
    /// let env = [("HTTPS_PROXY", "http://user:secret@proxy.example:3128")].into_iter().collect();
    /// let transport = HyperTransport::builder().context(Context::default().with_env(env)).build()?;
    /// let url = "https://login.example/".parse()?;
    /// assert_eq!(transport.proxy_for(&url).as_deref(), Some("proxy.example:3128"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn proxy_for(&self, url: &Url) -> Option<String> {
        let origin = HttpOrigin::of(&Request::new(Method::GET, url.clone(), Route::Public)).ok()?;
        self.0.connector.proxy_for(Route::Public, &origin).ok()?.map(ToString::to_string)
    }

    /// Returns what is unusable in the proxy variables: a sentence for each value that is not
    /// understood, with advice and without credentials.
    ///
    /// ```
    /// # use symbolon_hyper::HyperTransport;
    /// # use symbolon_types::Context;
    /// let env = [("HTTPS_PROXY", "ftp://proxy.example")].into_iter().collect();
    /// let transport = HyperTransport::builder().context(Context::default().with_env(env)).build()?;
    /// assert!(transport.proxy_warnings()[0].starts_with("HTTPS_PROXY names a proxy of a kind"));
    /// # Ok::<(), symbolon_hyper::BuildError>(())
    /// ```
    #[must_use]
    pub fn proxy_warnings(&self) -> &[String] {
        self.0.connector.proxy_warnings()
    }

    pub(crate) fn new(connector: Connector, clock: SharedClock) -> Self {
        Self(Arc::new(TransportParts { connector, clock, pool: Pool::default() }))
    }
}

impl Transport for HyperTransport {
    fn capabilities(&self) -> Capabilities {
        let capabilities =
            Capabilities::none().with_client_certificates().with_pinned_servers().with_private_trust();
        match self.0.connector.renegotiates() {
            true => capabilities.with_renegotiation(),
            false => capabilities,
        }
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let sent = self.0.send(&request).await;
        let sent = sent.map_err(|error| error.with_destination(request.destination()));
        if let Err(error) = &sent {
            tracing::debug!(kind = ?error.kind(), has_identity = request.identity().is_some(), "request failed");
        }
        sent
    }
}

impl TransportParts {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let origin = HttpOrigin::of(request)?;
        let message = message(request, &origin)?;
        let runtime = current_runtime()?;
        let proxy = self.connector.proxy_for(request.route(), &origin)?;
        let key = ConnectionKey { origin, is_proxied: proxy.is_some(), runtime };
        let sent = self.send_by(request, message, key, proxy).await;
        sent.map_err(|error| match proxy {
            Some(proxy) => error.with_proxy(proxy.with_variable()),
            None => error,
        })
    }

    async fn send_by(
        &self,
        request: &Request,
        message: http::Request<Full<bytes::Bytes>>,
        key: ConnectionKey,
        proxy: Option<&Proxy>,
    ) -> Result<Response, TransportError> {
        let is_idempotent = request.idempotence() == Idempotence::Message;
        let client = self.pool.client(request.identity(), request.server_auth(), self.clock.now());

        // A request is sent again once at most: if it was not sent at all, or is idempotent.
        let mut was_sent = false;
        if let Some(kept) = kept_open(&client, &key).await {
            tracing::debug!(origin = %key.origin, "reusing a connection");
            match kept.exchange(message.clone(), request.phase()).await {
                Ok((response, connection)) => return Ok(self.done(&client, key, response, connection)),
                Err(ExchangeError::Lost { is_answered: false, is_sent, error })
                    if !error.is_user() && (is_idempotent || !is_sent) =>
                {
                    tracing::debug!(origin = %key.origin, "the kept connection was lost; sending again");
                    was_sent = is_sent;
                }
                Err(failure) => return Err(classify::kept_connection_failed(failure)),
            }
        }

        let mut sent = self.send_on_new(request, message.clone(), &key, proxy, client).await;
        // After the loss of a kept connection, the certificate is not the likely reason.
        if let Err(NewConnectionError::LostWithIdentity(error)) = &sent
            && !was_sent
            && (is_idempotent || error.is_unprocessed())
        {
            tracing::debug!(origin = %key.origin, "the new connection was lost; sending again");
            was_sent = !error.is_unprocessed();
            let client = self.pool.client(request.identity(), request.server_auth(), self.clock.now());
            sent = self.send_on_new(request, message, &key, proxy, client).await;
            if let Err(NewConnectionError::LostWithIdentity(error)) = sent {
                let is_unprocessed = error.is_unprocessed();
                let rejected = TransportError::new(TransportErrorKind::IdentityRejected);
                sent = Err(rejected.with_source(error).with_unprocessed(is_unprocessed).into());
            }
        }
        sent.map_err(|error| {
            let (NewConnectionError::LostWithIdentity(error) | NewConnectionError::Other(error)) = error;
            let is_unprocessed = error.is_unprocessed() && !was_sent;
            error.with_unprocessed(is_unprocessed)
        })
    }

    /// Sends a request on a new connection. After a possible refusal of the certificate, the next
    /// connection makes a full handshake.
    async fn send_on_new(
        &self,
        request: &Request,
        message: http::Request<Full<bytes::Bytes>>,
        key: &ConnectionKey,
        proxy: Option<&Proxy>,
        client: Arc<ClientConnections>,
    ) -> Result<Response, NewConnectionError> {
        let (identity, server) = (request.identity(), request.server_auth());
        // Roots and key are loaded before connecting, so that no connection waits for them.
        let tls = match key.origin.is_tls() {
            true => Some(self.connector.tls_client(identity, server).await?),
            false => None,
        };
        let auth = self.connector.client_auth(identity, request.is_late_certificate_permitted());
        let exchange = async {
            let (tls, phase) = (tls.as_deref(), request.phase());
            let stream = self.connector.open(&key.origin, proxy, tls, &auth, server, phase).await?;
            let connection = Http1Connection::new(stream).await.map_err(classify::not_started)?;
            let is_late = auth.is_missing();
            let exchanged = connection.exchange(message, request.phase()).await;
            let exchanged =
                exchanged.map_err(|failure| classify::exchange_failed(failure, &auth.record, is_late))?;
            match exchanged {
                (response, _) if auth.is_missing() && classify::is_accepted(response.status()) => {
                    Err(classify::accepted_without_certificate().into())
                }
                exchanged => Ok::<_, NewConnectionError>(exchanged),
            }
        };
        match exchange.await {
            // A kept connection has presented the certificate.
            Ok((response, connection)) => {
                let connection = connection.filter(|_| !auth.is_missing());
                Ok(self.done(&client, key.clone(), response, connection))
            }
            Err(error) => {
                if error.may_be_refusal() {
                    self.pool.forget(identity, server, &client);
                    if let Some(tls) = &tls {
                        tls.forget_sessions();
                    }
                }
                Err(error)
            }
        }
    }

    fn done(
        &self,
        client: &ClientConnections,
        key: ConnectionKey,
        response: Response,
        connection: Option<Http1Connection>,
    ) -> Response {
        if let Some(connection) = connection {
            client.keep(key, connection, self.clock.now());
        }
        response
    }
}

/// Returns the first kept connection that the server has not closed, as far as is known.
async fn kept_open(client: &ClientConnections, key: &ConnectionKey) -> Option<Http1Connection> {
    loop {
        let mut connection = client.take(key)?;
        if connection.is_open().await {
            return Some(connection);
        }
    }
}

/// Returns the request for hyper, with the target in origin form (RFC 9112 §3.2.1), exactly as in
/// the URL, and with `Host`. hyper adds `Content-Length`.
fn message(
    request: &Request,
    origin: &HttpOrigin,
) -> Result<http::Request<Full<bytes::Bytes>>, TransportError> {
    let unsupported = |error| TransportError::new(TransportErrorKind::Unsupported).with_source(error);
    let target = &request.url()[Position::BeforePath..Position::AfterQuery];
    let target: PathAndQuery = target.parse().map_err(|error| unsupported(http::Error::from(error)))?;
    let mut message = http::Request::builder()
        .method(request.method())
        .uri(target)
        .header(HOST, origin.host_field())
        .body(Full::new(request.body().clone()))
        .map_err(unsupported)?;
    let host = message.headers_mut().remove(HOST);
    *message.headers_mut() = request.headers().clone();
    if let Some(host) = host {
        message.headers_mut().entry(HOST).or_insert(host);
    }
    if request.body().is_empty() {
        announce_no_content(&mut message);
    }
    Ok(message)
}

symbolon_types::debug_fields!(HyperTransport |this| connector: this.0.connector);
