//! The compared clients.

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt as _, StreamBody};
use symbolon_openssl::OpensslBackend;
use symbolon_rustls::ClientConfigs;
use symbolon_testing::symbolon::parts::client::{Client, Connections, ConnectionsBuilder, HttpCalls as _};
use symbolon_testing::symbolon::parts::token::TokenClient;

use crate::server::frames;
use crate::{BoxError, RESOURCE, ServerProcess};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// A client under measurement. Clones share its connections.
pub(crate) trait Caller: Clone + Send + 'static {
    /// Calls once, and returns the size of the response.
    fn get(&self) -> impl Future<Output = Result<usize, BoxError>> + Send;
    /// Receives a body of this size, frame by frame.
    fn download(&self, size: usize) -> impl Future<Output = Result<usize, BoxError>> + Send;
    /// Sends a body of this size, frame by frame, and returns the size that the server received.
    fn upload(&self, size: usize) -> impl Future<Output = Result<usize, BoxError>> + Send;
}

#[derive(Clone)]
pub(crate) struct Symbolon {
    client: Client,
    url: String,
}

impl Symbolon {
    pub(crate) fn new(
        tokens: &TokenClient,
        server: &ServerProcess,
        protocol: Protocol,
    ) -> Result<Self, BoxError> {
        let connections = connections(server).http2(protocol == Protocol::Http2).build()?;
        let client = tokens.client(RESOURCE).proof_of_possession().connections(connections).build()?;
        Ok(Self { client, url: server.url.clone() })
    }

    /// The same over HTTP/1.1 and OpenSSL.
    pub(crate) fn with_openssl(tokens: &TokenClient, server: &ServerProcess) -> Result<Self, BoxError> {
        let connections = connections(server).tls_backend::<OpensslBackend>().build()?;
        let client = tokens.client(RESOURCE).proof_of_possession().connections(connections).build()?;
        Ok(Self { client, url: server.url.clone() })
    }
}

fn connections(server: &ServerProcess) -> ConnectionsBuilder {
    Connections::builder().platform_roots(false).root_certificates_pem(server.certificate.as_bytes())
}

impl Caller for Symbolon {
    async fn get(&self) -> Result<usize, BoxError> {
        Ok(self.client.get(self.url.as_str()).send().await?.error_for_status()?.bytes().await?.len())
    }

    async fn download(&self, size: usize) -> Result<usize, BoxError> {
        let response = self.client.get(format!("{}/bytes/{size}", self.url)).send().await?;
        let mut body = response.error_for_status()?.into_http().into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(received)
    }

    async fn upload(&self, size: usize) -> Result<usize, BoxError> {
        let body = StreamBody::new(frames::<std::io::Error>(size));
        let response = self.client.post(self.url.as_str()).streaming_body(body).send().await?;
        Ok(response.error_for_status()?.text().await?.parse()?)
    }
}

#[derive(Clone)]
pub(crate) struct Reqwest {
    client: reqwest::Client,
    authorization: HeaderValue,
    url: String,
}

impl Reqwest {
    pub(crate) async fn new(
        tokens: &TokenClient,
        server: &ServerProcess,
        protocol: Protocol,
    ) -> Result<Self, BoxError> {
        let token = tokens.token_for_resource(RESOURCE).proof_of_possession().await?;
        let identity = token.bound_to().ok_or("the token is not bound")?;
        let offered = if protocol == Protocol::Http2 { "h2" } else { "http/1.1" };
        let configs = ClientConfigs::builder()
            .platform_roots(false)
            .root_certificates_pem(server.certificate.as_bytes())
            .alpn_protocols([offered])
            .build()?;
        let config = configs.config(identity).await?;
        let client =
            reqwest::Client::builder().tls_backend_preconfigured((*config).clone()).no_proxy().build()?;
        let authorization = format!("{} {}", token.token_type(), token.secret().expose());
        let mut authorization = HeaderValue::try_from(authorization)?;
        // As `bearer_auth` of reqwest does: HPACK does not index it (RFC 7541 §7.1.3).
        authorization.set_sensitive(true);
        Ok(Self { client, authorization, url: server.url.clone() })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, BoxError> {
        Ok(request.header("authorization", &self.authorization).send().await?.error_for_status()?)
    }
}

impl Caller for Reqwest {
    async fn get(&self) -> Result<usize, BoxError> {
        Ok(self.send(self.client.get(&self.url)).await?.bytes().await?.len())
    }

    async fn download(&self, size: usize) -> Result<usize, BoxError> {
        let mut response = self.send(self.client.get(format!("{}/bytes/{size}", self.url))).await?;
        let mut received = 0;
        while let Some(chunk) = response.chunk().await? {
            received += chunk.len();
        }
        Ok(received)
    }

    async fn upload(&self, size: usize) -> Result<usize, BoxError> {
        let body = reqwest::Body::wrap(StreamBody::new(frames::<std::io::Error>(size)));
        Ok(self.send(self.client.post(&self.url).body(body)).await?.text().await?.parse()?)
    }
}
