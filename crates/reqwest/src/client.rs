//! The client for requests and responses of reqwest.

use reqwest::{IntoUrl, Method, RequestBuilder, ResponseBuilderExt as _};
use symbolon_client::{Client, Error, ErrorKind, OutgoingBody, SyncBody};
use symbolon_rustls::rustls::crypto::aws_lc_rs;
use symbolon_rustls::rustls::{ClientConfig, RootCertStore};
use symbolon_types::Context;

use crate::connections::ReqwestConnections;
use crate::connector::{ConnectionCheck, ConnectionLayer};
use crate::observation::ConnectionObserver;

/// A client that sends requests of reqwest with a token, and with the certificate of a bound token.
/// Clones share connections.
///
/// ```no_run
/// # async fn example(client: symbolon_reqwest::AuthorizedClient) -> Result<(), Box<dyn std::error::Error>> {
/// let request = client.get("https://contoso.vault.azure.net/secrets/x?api-version=7.4").header("x", "y");
/// let response: reqwest::Response = client.send(request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    client: Client<ReqwestConnections>,
    /// Builds requests, and refuses to send them.
    builder: reqwest::Client,
}

impl AuthorizedClient {
    /// Creates a client from one with connections of reqwest.
    ///
    /// # Errors
    /// `invalid_configuration` if reqwest cannot be set up.
    pub fn new(client: Client<ReqwestConnections>) -> Result<Self, Error> {
        Ok(Self { client, builder: refusing_client()? })
    }

    /// Starts a request. [`send`](Self::send) sends it; its own `send` refuses to, because it has
    /// no token.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.builder.request(method, url)
    }

    /// Starts a GET request, as [`request`](Self::request) does.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Starts a POST request, as [`request`](Self::request) does.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Starts a PUT request, as [`request`](Self::request) does.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Starts a PATCH request, as [`request`](Self::request) does.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Starts a DELETE request, as [`request`](Self::request) does.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Sends a request of this client or of any other one of reqwest. The settings are those of the
    /// [connections](ReqwestConnections::new).
    ///
    /// # Errors
    /// Those of [`execute`](Self::execute), and `invalid_request` if the request was built wrongly.
    pub async fn send(&self, request: RequestBuilder) -> Result<reqwest::Response, Error> {
        self.execute(request.build().map_err(invalid_request)?).await
    }

    /// Sends a request. A response of any status is returned.
    ///
    /// # Errors
    /// Those of [`Client::send`](symbolon_client::Client::send). The error of reqwest is among the
    /// causes.
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, Error> {
        let url = request.url().clone();
        let request = http::Request::<reqwest::Body>::try_from(request).map_err(invalid_request)?;
        let response = self.client.send(request.map(reqwest_body)).await?;
        let (head, body) = response.into_parts();
        let body = reqwest::Body::wrap(SyncBody::new(body));
        let response = http::Response::builder().url(url).body(body);
        let mut response = response.map_err(|error| unreachable_response(&error))?;
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        response.extensions_mut().extend(head.extensions);
        Ok(response.into())
    }
}

fn reqwest_body(body: reqwest::Body) -> OutgoingBody {
    symbolon_client::outgoing(body)
}

fn refusing_client() -> Result<reqwest::Client, Error> {
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(not_set_up)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .connector_layer(ConnectionLayer {
            check: ConnectionCheck::Refuse,
            observer: ConnectionObserver::of(&Context::default()),
        })
        .build()
        .map_err(not_set_up)
}

fn not_set_up(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", "reqwest could not be set up")
        .with_advice("read the cause")
        .with_source(error)
}

fn invalid_request(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Request, "invalid_request", "the request of reqwest is invalid; nothing was sent")
        .with_advice("correct the request")
        .with_source(error.without_url())
}

fn unreachable_response(error: &http::Error) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", format!("the response is invalid: {error}"))
}
