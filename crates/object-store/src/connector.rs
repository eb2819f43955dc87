//! The HTTP client that replaces the placeholder by a bound token.

use http::header::AUTHORIZATION;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use symbolon_client::{Client, Error, ErrorKind, SyncBody};

use crate::failure::request_failed;

/// The placeholder in the place of a bound token.
pub(crate) const PLACEHOLDER: &str = "symbolon-placeholder-not-a-token";

/// The connector of a [`BoundStorage`](crate::BoundStorage).
#[derive(Clone, Debug)]
pub struct BoundConnector(pub(crate) Client);

impl HttpConnector for BoundConnector {
    /// Returns the HTTP client. The options have no effect: those of the builder of
    /// [`BoundStorage`](crate::BoundStorage::new) apply.
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(BoundService(self.0.clone())))
    }
}

#[derive(Debug)]
struct BoundService(Client);

#[async_trait::async_trait]
impl HttpService for BoundService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if authorization.and_then(|value| value.strip_prefix("Bearer ")) != Some(PLACEHOLDER) {
            return Err(request_failed(placeholder_missing()));
        }
        let response = self.0.send(request).await.map_err(request_failed)?;
        Ok(response.map(|body| HttpResponseBody::new(SyncBody::new(body).map_err(request_failed))))
    }
}

fn placeholder_missing() -> Error {
    let error = "the request has other credentials than those of this connector; nothing was sent";
    Error::new(ErrorKind::Request, "placeholder_missing", error)
        .with_advice("pass the credentials and the connector of the same BoundStorage to object_store")
}
