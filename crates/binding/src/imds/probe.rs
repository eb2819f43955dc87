//! Probes of the metadata service (docs/protocol/imdsv2.md#probe).

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};
use symbolon_transport::{Request, RetryPolicy, Route, TransportError, TransportErrorKind};
use symbolon_types::CorrelationId;

use super::client::{ImdsClient, REQUEST_ID};
use super::endpoint::ImdsEndpoint;

/// Short, because the service is on the same host; a laptop has none.
const TIMEOUT: Duration = Duration::from_millis(600);

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
    /// looked up.
    pub async fn probe(&self, endpoint: ImdsEndpoint) -> ProbeResult {
        let (name, value) = endpoint.api_version();
        let url = self.url(endpoint.path(), &format!("{name}={value}"));
        let mut request = Request::new(Method::GET, url, Route::Local);
        if let Ok(id) = HeaderValue::from_str(&CorrelationId::random().to_string()) {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
        let start = self.clock().steady_now();
        let sent = self.http.send(&policy, || Ok::<_, TransportError>(request.clone())).await;
        let duration = self.clock().steady_now().since(start);
        let (status, reason, date) = match sent {
            Ok(sent) => {
                let status = sent.response.status();
                let (status, reason) = if status == StatusCode::BAD_REQUEST {
                    let reason = "present (refuses a request without the Metadata header, as it should)";
                    (ProbeStatus::Present, reason.to_owned())
                } else {
                    (ProbeStatus::Absent, format!("absent: answered with status {}", status.as_u16()))
                };
                (status, reason, sent.response.date())
            }
            Err(error) => {
                let reason = match error.kind() {
                    TransportErrorKind::Timeout => "did not answer in time",
                    TransportErrorKind::Connect => "could not be reached",
                    _ => "did not answer like a web server",
                };
                (ProbeStatus::Unreachable, reason.to_owned(), None)
            }
        };
        tracing::debug!(leg = %endpoint, verdict = ?status, reason, "probed the metadata service");
        ProbeResult { status, reason, date, duration }
    }
}
