//! Clients under measurement.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use symbolon_testing::symbolon::parts::client::Client;

use crate::BoxError;
use crate::server::frames;

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
    pub(crate) client: Client,
    pub(crate) url: String,
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

/// reqwest, with a header in each request.
#[derive(Clone)]
pub(crate) struct Reqwest {
    pub(crate) client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) header: (HeaderName, HeaderValue),
}

impl Reqwest {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, BoxError> {
        let (name, value) = self.header.clone();
        Ok(request.header(name, value).send().await?.error_for_status()?)
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
