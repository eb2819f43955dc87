//! Connections of reqwest for the client.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use http_body::Body as _;
use symbolon_client::{ConnectionFailure, HttpConnections, OutgoingBody, SyncBody, UploadBody};
use symbolon_rustls::ClientConfigs;
use symbolon_transport::{TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, ServerAuth};

use crate::attempt::Attempt;
use crate::body::ReqwestBody;
use crate::clients::{ClientRoute, ReqwestClients};
use crate::failure::{AttemptFailure, attempt_failed};

pub(crate) const HTTP_1_1: &[&str] = &["http/1.1"];
#[cfg(feature = "http2")]
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];
#[cfg(not(feature = "http2"))]
const PROTOCOLS: &[&str] = HTTP_1_1;

/// Connections of reqwest for a [`Client`](symbolon_client::Client): one client of reqwest for each
/// certificate. Clones share them.
///
/// ```
/// # async fn example(tokens: symbolon_client::UserTokens) -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_client::Client;
/// use symbolon_reqwest::{AuthorizedClient, ReqwestConnections};
/// use symbolon_rustls::ClientConfigs;
///
/// let connections = ReqwestConnections::new(ClientConfigs::builder().build()?, || {
///     reqwest::Client::builder().user_agent("contoso/1.0").pool_max_idle_per_host(32)
/// });
/// let client = Client::builder(tokens, "https://graph.microsoft.com/User.Read").connections(connections);
/// let client = AuthorizedClient::new(client.build()?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ReqwestConnections(ReqwestClients);

impl ReqwestConnections {
    /// Creates connections with TLS configurations and the settings of reqwest.
    ///
    /// `settings` is called for each certificate. Its TLS settings are replaced by `configs`, which
    /// holds roots and versions; the application protocols are set here. Redirects are never
    /// followed, so that no other host receives a token.
    pub fn new(
        configs: ClientConfigs,
        settings: impl Fn() -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self(ReqwestClients::new(configs, settings, PROTOCOLS))
    }

    /// Offers HTTP/1.1 only. Without the feature `http2`, this is the default.
    #[must_use]
    pub fn without_http2(self) -> Self {
        Self(self.0.with_protocols(HTTP_1_1))
    }

    /// Reports new TLS connections to the observer of a context, with its clock, as
    /// [`Event::Handshake`](symbolon_types::Event::Handshake). Default: none.
    #[must_use]
    pub fn context(self, context: &Context) -> Self {
        Self(self.0.observed_by(context))
    }

    async fn attempt(
        &self,
        mut request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ReqwestBody>, AttemptFailure> {
        let client = self.0.client(identity, &ServerAuth::Roots, ClientRoute::Public).await?;
        if request.body().is_end_stream() {
            let method = request.method().clone();
            announce_no_content(&method, request.headers_mut());
        }
        let (head, body) = request.into_parts();
        let (body, upload) = UploadBody::new(body);
        let request = http::Request::from_parts(head, reqwest::Body::wrap(SyncBody::new(body)));
        let request = reqwest::Request::try_from(request).map_err(|error| {
            TransportError::new(TransportErrorKind::Unsupported).with_source(error.without_url())
        })?;
        let attempt = Attempt::of_scheme(request.url().scheme());
        let response = attempt.drive(client.execute(request)).await;
        let response = response.map_err(|error| attempt_failed(error, &attempt))?;
        Ok(http::Response::from(response).map(|body| ReqwestBody::new(body, upload)))
    }
}

impl HttpConnections for ReqwestConnections {
    type Body = ReqwestBody;

    async fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ReqwestBody>, ConnectionFailure> {
        self.attempt(request, identity).await.map_err(|failure| match failure.is_lost_with_identity {
            true => ConnectionFailure::lost_with_identity(failure.error),
            false => failure.error.into(),
        })
    }
}

/// Sets `Content-Length: 0`, which hyper omits and servers require for methods with a body (RFC
/// 9110 §8.6).
pub(crate) fn announce_no_content(method: &Method, headers: &mut http::HeaderMap) {
    if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
}
