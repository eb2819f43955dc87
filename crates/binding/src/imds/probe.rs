//! Whether the service is there, and which of its versions. (IMDSv2 §1.7.)

use std::time::{Duration, SystemTime};

use http::header::HeaderName;
use http::{HeaderValue, Method, StatusCode};
use symbolon_transport::{Request, RetryPolicy, Route, TransportError, TransportErrorKind};
use symbolon_types::CorrelationId;

use super::{Imds, Leg, REQUEST_ID};

/// How long a probe may take. The service is on the same machine, and a laptop has none.
const TIMEOUT: Duration = Duration::from_millis(600);

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// What the answer means.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
    /// When the service says it answered.
    pub date: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
}

/// Whether what was probed for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It is.
    Present,
    /// Something answers there, and does not have it.
    Absent,
    /// Nothing answers there.
    Silent,
}

impl Imds {
    /// Asks without the `Metadata` header, which the service refuses before it looks at anything else:
    /// status 400 says that it is there and knows the path. Nothing is issued and no identity is
    /// looked up. Takes at most six tenths of a second, and is not repeated.
    pub async fn probe(&self, leg: Leg) -> Probe {
        let mut url = self.base.clone();
        url.set_path(leg.path());
        let (name, value) = leg.api_version();
        url.set_query(Some(&format!("{name}={value}")));
        url.set_fragment(None);
        let mut request = Request::new(Method::GET, url, Route::Local);
        if let Ok(id) = HeaderValue::from_str(&CorrelationId::random().to_string()) {
            request.headers_mut().insert::<HeaderName>(REQUEST_ID, id);
        }
        let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
        let began = self.clock().now();
        let sent = self.http.send(&policy, || Ok::<_, TransportError>(request.clone())).await;
        let took = self.clock().now().duration_since(began).unwrap_or_default();
        let probe = match sent {
            Ok(sent) => {
                let status = sent.response.status();
                let verdict =
                    if status == StatusCode::BAD_REQUEST { Verdict::Present } else { Verdict::Absent };
                let reason = format!("answered with status {}", status.as_u16());
                Probe { verdict, reason, date: sent.response.date(), took }
            }
            Err(error) => {
                let reason = match error.kind() {
                    TransportErrorKind::Timeout => "did not answer in time",
                    TransportErrorKind::Connect => "could not be reached",
                    _ => "did not answer like a web server",
                };
                Probe { verdict: Verdict::Silent, reason: reason.to_owned(), date: None, took }
            }
        };
        tracing::debug!(%leg, verdict = ?probe.verdict, reason = probe.reason, "probed the metadata service");
        probe
    }

    /// Where it is asked.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}
