//! Probes of the metadata service (docs/protocol/imdsv2.md#probe).

use std::time::{Duration, SystemTime};

use http::header::SERVER;
use http::{HeaderValue, Method, StatusCode};
use symbolon_transport::{
    Request, Response, RetryPolicy, Route, TransportError, TransportErrorKind, is_transient_status,
};
use symbolon_types::{CorrelationId, Error};

use super::client::{ImdsClient, REQUEST_ID};
use super::endpoint::ImdsEndpoint;
use super::error::{is_from_imds, no_service, server_name};
use super::presence::{ImdsPresence, ProbedServer};

/// Short, because the service is on the same host; a laptop has none.
const TIMEOUT: Duration = Duration::from_millis(600);
/// The timeout before the first request. Longer, because a service that is only slow must not count
/// as absent.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Result of a probe of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeResult {
    /// Status of the endpoint.
    pub status: ProbeStatus,
    /// Reason for the status, in words.
    pub reason: String,
    /// `Date` of the response.
    pub date: Option<SystemTime>,
    /// Time until the response or the failure.
    pub duration: Duration,
}

/// Status of an endpoint, as a probe finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeStatus {
    /// The service has the endpoint.
    Present,
    /// A server responded that does not have the endpoint.
    Absent,
    /// There was no response.
    Unreachable,
}

impl ImdsClient {
    /// Probes for an endpoint, once, within 600 milliseconds.
    ///
    /// The request has no `Metadata` header. The service refuses it with status 400 before it reads
    /// anything else, which proves that the endpoint exists; nothing is issued, and no identity is
    /// looked up. A status 400 of another server proves nothing.
    pub async fn probe(&self, endpoint: ImdsEndpoint) -> ProbeResult {
        let start = self.clock().steady_now();
        let sent = self.send_probe(endpoint, TIMEOUT).await;
        let duration = self.clock().steady_now().since(start);
        let (status, reason, date) = match sent {
            Ok(response) => {
                let (status, reason) = status_of(&response);
                (status, reason, response.date())
            }
            Err(error) => {
                let reason = match error.kind() {
                    TransportErrorKind::Timeout => "did not answer in time".to_owned(),
                    TransportErrorKind::Connect => "could not be reached".to_owned(),
                    TransportErrorKind::Unsupported | TransportErrorKind::Panicked => error.to_string(),
                    _ => "did not answer like a web server".to_owned(),
                };
                (ProbeStatus::Unreachable, reason, None)
            }
        };
        tracing::debug!(leg = %endpoint, verdict = ?status, reason, "probed the metadata service");
        ProbeResult { status, reason, date, duration }
    }

    /// Probes for a service that no variable names, unless it has responded before.
    pub(super) async fn find_service(&self, endpoint: ImdsEndpoint) -> Result<ProbedServer, Error> {
        if self.presence.as_ref().is_none_or(ImdsPresence::is_known) {
            return Ok(ProbedServer::Service);
        }
        match self.send_probe(endpoint, FIRST_TIMEOUT).await {
            Ok(response) if is_from_imds(&response) => Ok(ProbedServer::Service),
            Ok(response) => {
                let is_named = response.headers().contains_key(SERVER);
                Ok(ProbedServer::Other { is_transient: !is_named && is_transient_status(response.status()) })
            }
            Err(error) => {
                tracing::debug!(leg = %endpoint, failure = ?error.kind(), "found no metadata service");
                Err(no_service(error, &self.origin()))
            }
        }
    }

    async fn send_probe(
        &self,
        endpoint: ImdsEndpoint,
        timeout: Duration,
    ) -> Result<Response, TransportError> {
        let (name, value) = endpoint.api_version();
        let url = self.url(endpoint.path(), &format!("{name}={value}"));
        let mut request = Request::new(Method::GET, url, Route::Local);
        if let Ok(id) = HeaderValue::from_str(&CorrelationId::random().to_string()) {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        let policy = RetryPolicy::once().with_attempt_timeout(timeout);
        let sent = self.http.send(&policy, || Ok::<_, TransportError>(request.clone())).await?;
        if let Some(presence) = self.presence.as_ref().filter(|_| is_from_imds(&sent.response)) {
            presence.record();
        }
        Ok(sent.response)
    }
}

fn status_of(response: &Response) -> (ProbeStatus, String) {
    if response.status() != StatusCode::BAD_REQUEST {
        let reason = format!("absent: answered with status {}", response.status().as_u16());
        return (ProbeStatus::Absent, reason);
    }
    if is_from_imds(response) {
        let reason = "present (refuses a request without the Metadata header, as it should)";
        return (ProbeStatus::Present, reason.to_owned());
    }
    let server = server_name(response);
    (ProbeStatus::Absent, format!("absent: another server answered with status 400 ({server})"))
}
