//! Requests for callers without tower.

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Uri};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use symbolon_hyper::{Connections, OutgoingBody, outgoing};
use symbolon_types::Error;

use crate::client::Client;
use crate::connections::HttpConnections;
use crate::failure;
use crate::response::ClientResponse;

/// A request of a [`Client`] under construction; [`send`](Self::send) it.
#[must_use = "a request does nothing until it is sent"]
pub struct ClientRequest<C = Connections> {
    client: Client<C>,
    request: Result<http::Request<OutgoingBody>, Error>,
}

symbolon_types::debug_fields!(ClientRequest<C>: client);

impl<C: HttpConnections> Client<C> {
    /// Starts a request with any method.
    pub fn request<U>(&self, method: Method, url: U) -> ClientRequest<C>
    where
        U: TryInto<Uri, Error: Into<http::Error>>,
    {
        let empty = outgoing(Full::new(Bytes::new()));
        let request =
            url.try_into().map_err(|error| invalid("the URL of the request is invalid", error.into()));
        let request = request.map(|url| {
            let mut request = http::Request::new(empty);
            *request.method_mut() = method;
            *request.uri_mut() = url;
            request
        });
        ClientRequest { client: self.clone(), request }
    }

    /// Starts a GET request.
    pub fn get<U: TryInto<Uri, Error: Into<http::Error>>>(&self, url: U) -> ClientRequest<C> {
        self.request(Method::GET, url)
    }

    /// Starts a POST request.
    pub fn post<U: TryInto<Uri, Error: Into<http::Error>>>(&self, url: U) -> ClientRequest<C> {
        self.request(Method::POST, url)
    }

    /// Starts a PUT request.
    pub fn put<U: TryInto<Uri, Error: Into<http::Error>>>(&self, url: U) -> ClientRequest<C> {
        self.request(Method::PUT, url)
    }

    /// Starts a PATCH request.
    pub fn patch<U: TryInto<Uri, Error: Into<http::Error>>>(&self, url: U) -> ClientRequest<C> {
        self.request(Method::PATCH, url)
    }

    /// Starts a DELETE request.
    pub fn delete<U: TryInto<Uri, Error: Into<http::Error>>>(&self, url: U) -> ClientRequest<C> {
        self.request(Method::DELETE, url)
    }
}

impl<C: HttpConnections> ClientRequest<C> {
    /// Sets a header.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.request = self.request.and_then(|mut request| {
            let of_header = |error| invalid("a header of the request is invalid", error);
            let name = name.try_into().map_err(|error| of_header(error.into()))?;
            request.headers_mut().insert(name, value.try_into().map_err(|error| of_header(error.into()))?);
            Ok(request)
        });
        self
    }

    /// Sets a body that is in memory.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.streaming_body(Full::new(body.into()))
    }

    /// Sets a body of any type, which is sent as it is read.
    pub fn streaming_body<B>(mut self, body: B) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.request = self.request.map(|request| request.map(|_| outgoing(body)));
        self
    }

    /// Sets a JSON body, and `Content-Type: application/json` unless it is set already.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.request = self.request.and_then(|mut request| {
            let json = serde_json::to_vec(value).map_err(|error| {
                failure::invalid_request("the body of the request cannot be written as JSON", error)
            })?;
            let json_type = HeaderValue::from_static("application/json");
            request.headers_mut().entry(CONTENT_TYPE).or_insert(json_type);
            Ok(request.map(|_| outgoing(Full::new(Bytes::from(json)))))
        });
        self
    }

    /// Sends the request. A response of any status is returned.
    ///
    /// # Errors
    /// `invalid_request` if a part of the request is invalid, and those of [`Client::send`].
    pub async fn send(self) -> Result<ClientResponse<C::Body>, Error> {
        self.client.send(self.request?).await.map(ClientResponse::new)
    }
}

fn invalid(summary: &'static str, error: http::Error) -> Error {
    failure::invalid_request(summary, error)
}
