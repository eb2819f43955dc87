//! The transport.

use std::fmt;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use http_body_util::Full;
use symbolon_transport::{
    Capabilities, Request, Response, Route, Transport, TransportError, TransportErrorKind,
};
use symbolon_types::SharedClock;
use tokio::runtime::Handle;
use url::{Position, Url};

use crate::HyperTransportBuilder;
use crate::channel::{Channel, Failure};
use crate::classify;
use crate::connect::connect;
use crate::origin::Origin;
use crate::pool::{Client, Pool, Site};
use crate::presentation::Presentation;
use crate::proxy::{Proxies, Proxy};
use crate::stream::Stream;
use crate::tls::TlsFactory;

/// The default [`Transport`]: HTTP/1.1 with hyper, TLS 1.2 and 1.3 with rustls.
///
/// Clones are cheap and share connections. It needs a Tokio runtime with I/O enabled while it
/// sends, and none to be made or dropped.
///
/// ```
/// # use symbolon_hyper::{HyperTransport, TlsVersion};
/// let transport = HyperTransport::builder().minimum_tls(TlsVersion::V1_3).build()?;
/// # Ok::<(), symbolon_hyper::BuildError>(())
/// ```
#[derive(Clone)]
pub struct HyperTransport(Arc<Shared>);

struct Shared {
    tls: TlsFactory,
    proxies: Proxies,
    clock: SharedClock,
    pool: Pool,
}

impl HyperTransport {
    /// What there is to configure.
    #[must_use]
    pub fn builder() -> HyperTransportBuilder {
        HyperTransportBuilder::new()
    }

    /// The proxy that a request over a [`Route::Public`](symbolon_transport::Route::Public) to this URL would
    /// go through, as `host:port`, without its credentials.
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
        let origin = Origin::of(&Request::new(Method::GET, url.clone(), Route::Public)).ok()?;
        let proxy = self.0.proxies.on_the_way(Route::Public, &origin)?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    pub(crate) fn new(tls: TlsFactory, proxies: Proxies, clock: SharedClock) -> Self {
        Self(Arc::new(Shared { tls, proxies, clock, pool: Pool::new() }))
    }
}

impl Transport for HyperTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_client_certificates().with_pinned_servers()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let sent = self.0.send(&request).await;
        if let Err(error) = &sent {
            tracing::debug!(kind = ?error.kind(), has_identity = request.identity().is_some(), "request failed");
        }
        sent
    }
}

impl Shared {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let origin = Origin::of(request)?;
        let message = message(request, &origin)?;
        let unsupported = |error| TransportError::new(TransportErrorKind::Unsupported).with_source(error);
        let runtime = Handle::try_current().map_err(unsupported)?.id();

        let proxy = self.proxies.on_the_way(request.route(), &origin);
        let site = Site { origin, is_proxied: proxy.is_some(), runtime };
        let client = self.pool.client(request.identity(), request.pinned_server(), self.clock.now());

        if let Some(kept) = kept_open(&client, &site).await {
            tracing::debug!(origin = %site.origin, "reusing a connection");
            match kept.exchange(message.clone()).await {
                Ok((response, channel)) => return Ok(self.done(&client, site, response, channel)),
                Err(Failure::Lost { is_answered: false, error }) if !error.is_user() => {
                    tracing::debug!(origin = %site.origin, "the connection had been closed; sending again");
                }
                // An answered request says nothing about a certificate that was accepted before.
                Err(failure) => return Err(classify::exchange_failed(failure, &Presentation::default())),
            }
        }

        let presentation = Arc::new(Presentation::default());
        let fresh = async {
            let channel = self.open(request, &site.origin, proxy.as_ref(), &client, &presentation).await?;
            let exchanged = channel.exchange(message).await;
            exchanged.map_err(|failure| classify::exchange_failed(failure, &presentation))
        };
        match fresh.await {
            Ok((response, channel)) => Ok(self.done(&client, site, response, channel)),
            Err(error) => {
                if let (TransportErrorKind::IdentityRejected, Some(refused)) =
                    (error.kind(), request.identity())
                {
                    self.pool.forget(refused, request.pinned_server(), &client);
                }
                Err(error)
            }
        }
    }

    /// A fresh connection that speaks as the client.
    async fn open(
        &self,
        request: &Request,
        origin: &Origin,
        proxy: Option<&Proxy>,
        client: &Client,
        presentation: &Arc<Presentation>,
    ) -> Result<Channel, TransportError> {
        let stream = if origin.is_tls() {
            // The roots and the key come first: a connection would only wait for them.
            let tls = client.tls(&self.tls, request.identity(), request.pinned_server()).await?;
            let stream = connect(origin, proxy).await?;
            Stream::from(tls.connect(stream, origin, presentation).await?)
        } else {
            Stream::from(connect(origin, proxy).await?)
        };
        let channel = Channel::new(stream).await;
        channel.map_err(|error| TransportError::new(TransportErrorKind::Interrupted).with_source(error))
    }

    fn done(&self, client: &Client, site: Site, response: Response, channel: Option<Channel>) -> Response {
        if let Some(channel) = channel {
            client.keep(site, channel, self.clock.now());
        }
        response
    }
}

/// The first kept connection that the server has not closed, as far as we have heard.
async fn kept_open(client: &Client, site: &Site) -> Option<Channel> {
    loop {
        let mut channel = client.take(site)?;
        if channel.is_open().await {
            return Some(channel);
        }
    }
}

/// The request as hyper wants it: the target in origin form (RFC 9112 §3.2.1), exactly as in the
/// URL; with `Host` and, from hyper, `Content-Length`.
fn message(request: &Request, origin: &Origin) -> Result<http::Request<Full<bytes::Bytes>>, TransportError> {
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
    // RFC 9110 §8.6: a method that expects content says so when there is none; hyper leaves it out.
    let expects_content = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if expects_content && request.body().is_empty() {
        message.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
    Ok(message)
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("tls", &self.0.tls)
            .field("proxies", &self.0.proxies)
            .finish_non_exhaustive()
    }
}
