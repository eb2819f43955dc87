//! The HTTP client of a source: sends with retries, and reads the token from the response.

use http::StatusCode;
use symbolon_token::{Error, IssuedToken};
use symbolon_transport::{HttpClient, HttpOutcome, Request, RetryPolicy, TransportError};
use symbolon_types::{CorrelationId, Source};

use super::{error, response};

/// The client for the requests of one acquisition.
#[derive(Debug)]
pub(super) struct SourceClient<'a> {
    pub(super) source: Source,
    pub(super) http: &'a HttpClient,
    pub(super) policy: &'a RetryPolicy,
    pub(super) correlation_id: CorrelationId,
}

impl SourceClient<'_> {
    /// Returns the last response, of any status.
    pub(super) async fn send(&self, request: &Request) -> Result<HttpOutcome, Error> {
        let sent = self.http.send(self.policy, || Ok::<_, TransportError>(request.clone())).await;
        match &sent {
            Ok(sent) => tracing::debug!(
                source = self.source.as_str(),
                status = sent.response.status().as_u16(),
                attempts = sent.attempts,
                "a managed identity source responded"
            ),
            Err(error) => tracing::debug!(
                source = self.source.as_str(),
                failure = ?error.kind(),
                "a managed identity source did not respond"
            ),
        }
        sent.map_err(|error| error::no_response(self.source, error))
    }

    /// Returns the token in a response with status 200, and the number of requests it took.
    pub(super) fn token(&self, sent: &HttpOutcome) -> Result<(IssuedToken, usize), Error> {
        let now = self.http.context().clock().read();
        if sent.response.status() != StatusCode::OK {
            return Err(error::http_error(self.source, &sent.response, now.wall));
        }
        let fetched = response::read(self.source, &sent.response, now, self.correlation_id)?;
        Ok((fetched, sent.attempts))
    }
}
