//! Responses for callers without tower.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use serde::de::DeserializeOwned;
use symbolon_hyper::ResponseBody;
use symbolon_token::{Challenge, claims_challenge};
use symbolon_transport::{TransportError, retry_after};
use symbolon_types::{Error, ErrorKind, Secrets, SharedClock};

use crate::body::{LimitedBody, WHOLE_BODY_LIMIT, read_whole};

/// The headers with the id under which a service of Azure logged the request, best first.
const REQUEST_IDS: [&str; 6] = [
    "x-ms-client-request-id",
    "client-request-id",
    "x-ms-correlation-request-id",
    "x-ms-request-id",
    "request-id",
    "x-ms-activity-id",
];

/// The response to a [`ClientRequest`](crate::ClientRequest), of any status.
pub struct ClientResponse<B = ResponseBody> {
    response: http::Response<LimitedBody<B>>,
    limit: usize,
}

// Hides the headers, which may contain secrets.
symbolon_types::debug_fields!(ClientResponse<B> |this| status: this.response.status());

impl<B> ClientResponse<B>
where
    B: Body<Data = Bytes, Error = TransportError> + Unpin,
{
    pub(crate) fn new(response: http::Response<LimitedBody<B>>) -> Self {
        Self { response, limit: WHOLE_BODY_LIMIT }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the claims of a claims challenge, as JSON, if the response still has one: the new
    /// token did not satisfy the resource, or the request could not be sent again.
    #[must_use]
    pub fn claims_challenge(&self) -> Option<String> {
        claims_challenge(self.headers())
    }

    /// Returns the response, whose body is a stream.
    #[must_use]
    pub fn into_http(self) -> http::Response<LimitedBody<B>> {
        self.response
    }

    /// Sets the size limit of [`bytes`](Self::bytes), [`text`](Self::text) and
    /// [`json`](Self::json). Default: 16 MiB.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns an error unless the status is a success (2xx).
    ///
    /// # Errors
    /// `resource_refused`, with the status, the claims of a claims challenge, the id under which
    /// the resource logged the request, and what its `WWW-Authenticate` says. The body is not read.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status.is_success() {
            return Ok(self);
        }
        let claims = self.claims_challenge();
        let advice = match (&claims, status) {
            (Some(_), _) => {
                "the resource requires other claims: request a token with the claims of this error"
            }
            (None, StatusCode::UNAUTHORIZED) => "check the resource of the token, and its binding",
            (None, StatusCode::FORBIDDEN) => "check the roles of the identity",
            _ => "read the body of the response",
        };
        let is_transient = symbolon_transport::is_transient_status(status);
        let error =
            Error::new(ErrorKind::Service, "resource_refused", "the resource did not respond with success")
                .with_advice(advice)
                .with_status(status.as_u16())
                .with_transient(is_transient)
                .with_retry_after(retry_after(self.headers(), SharedClock::system().now()))
                .with_claims(claims);
        let id = REQUEST_IDS.iter().find_map(|name| self.headers().get(*name)?.to_str().ok()?.parse().ok());
        let error = match id {
            Some(id) => error.with_correlation_id(id),
            None => error,
        };
        let challenges = Challenge::of(self.headers());
        match challenges.iter().find_map(|challenge| challenge.parameter("error_description")) {
            // The shape of a token is enough to replace it: the token of the request is not kept.
            Some(description) => Err(error.with_excerpt(description, &Secrets::none())),
            None => Err(error),
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// `response_too_large` beyond the [`limit`](Self::limit); `timeout` and `transport_error` if
    /// the body does not arrive completely.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        read_whole(self.response.into_body(), self.limit).await
    }

    /// Reads the body as UTF-8.
    ///
    /// # Errors
    /// `invalid_response` if it is not UTF-8, and those of [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes().await?.into()).map_err(|error| {
            let error = error.utf8_error();
            invalid("the response body is not UTF-8").with_source(error)
        })
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// `invalid_response` if it is not JSON of this type, and those of [`bytes`](Self::bytes). The
    /// error does not quote the body.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            invalid(format!("the response body is not the expected JSON (line {line}, column {column})"))
        })
    }
}

fn invalid(summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", summary)
        .with_advice("check the URL, and the content type of the response")
}
