//! Calls without a proxy, and through one.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use symbolon_testing::symbolon::parts::client::Client;

use crate::BoxError;
use crate::server::frames;

/// A way to the resource. Clones share connections.
pub(crate) trait Caller: Clone + Send + 'static {
    /// Calls once.
    fn get(&self) -> impl Future<Output = Result<(), BoxError>> + Send;
    /// Receives a body of this size.
    fn download(&self, size: usize) -> impl Future<Output = Result<usize, BoxError>> + Send;
    /// Sends a body of this size, and returns the size that the server received.
    fn upload(&self, size: usize) -> impl Future<Output = Result<usize, BoxError>> + Send;
}

#[derive(Clone)]
pub(crate) struct Direct {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Caller for Direct {
    async fn get(&self) -> Result<(), BoxError> {
        self.client.get(self.url.as_str()).send().await?.error_for_status()?.bytes().await?;
        Ok(())
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

/// A client of the proxy over HTTP/1.1, as most programs are.
#[derive(Clone)]
pub(crate) struct Proxied {
    client: reqwest::Client,
    url: String,
    secret: String,
}

impl Proxied {
    pub(crate) fn new(address: &str, secret: &str) -> Result<Self, BoxError> {
        // reqwest builds a TLS configuration even if it is not used.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { client, url: format!("http://{address}"), secret: secret.to_owned() })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, BoxError> {
        Ok(request.header("x-symbolon-secret", &self.secret).send().await?.error_for_status()?)
    }
}

impl Caller for Proxied {
    async fn get(&self) -> Result<(), BoxError> {
        self.send(self.client.get(&self.url)).await?.bytes().await?;
        Ok(())
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
