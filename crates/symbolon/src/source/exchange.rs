//! One exchange with a source: sent, tried again as its table says, and read.

use http::StatusCode;
use symbolon_token::{Error, Fetched};
use symbolon_transport::{HttpClient, Request, RetryPolicy, Sent, TransportError};
use symbolon_types::CorrelationId;

use crate::Source;
use crate::source::{issued, refusal};

/// What is the same for every request of one acquisition.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) source: Source,
    pub(crate) http: &'a HttpClient,
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) correlation_id: CorrelationId,
}

impl Exchange<'_> {
    /// The last answer, whatever its status.
    pub(crate) async fn send(&self, request: &Request) -> Result<Sent, Error> {
        let sent = self.http.send(self.policy, || Ok::<_, TransportError>(request.clone())).await;
        match &sent {
            Ok(sent) => tracing::debug!(
                source = self.source.as_str(),
                status = sent.response.status().as_u16(),
                attempts = sent.attempts,
                "a managed identity source answered"
            ),
            Err(error) => tracing::debug!(
                source = self.source.as_str(),
                failure = ?error.kind(),
                "a managed identity source did not answer"
            ),
        }
        sent.map_err(|error| refusal::unanswered(self.source, error))
    }

    /// The token in an answer, if it is a 200, and how many requests it took.
    pub(crate) fn token(&self, sent: &Sent) -> Result<(Fetched, usize), Error> {
        let now = self.http.context().clock().now();
        if sent.response.status() != StatusCode::OK {
            return Err(refusal::refused(self.source, &sent.response, now));
        }
        let fetched = issued::read(self.source, &sent.response, now, self.correlation_id)?;
        Ok((fetched, sent.attempts))
    }
}
