//! Errors of calls.

use std::time::Duration;

use symbolon_transport::{RequestPhase, TransportError, TransportErrorKind};
use symbolon_types::{Error, ErrorKind};

use crate::destination::Destination;

/// The advice for a request that the resource may have processed, and that is not idempotent.
const MAY_BE_PROCESSED: &str = "check if the resource has processed the request before you send it again";

/// Returns the error of a request without a response. It is transient only if the request may be
/// sent again.
pub(crate) fn send_failed(error: TransportError, destination: &Destination, may_repeat: bool) -> Error {
    let summary = match error.kind() {
        TransportErrorKind::IdentityNotRequested if !error.is_unprocessed() => format!(
            "{destination} accepted the request without requesting the client certificate that the token is bound to"
        ),
        TransportErrorKind::IdentityNotRequested => format!(
            "{destination} did not request the client certificate, without which the token is invalid; nothing was sent"
        ),
        _ => format!("the request to {destination} got no response"),
    };
    repeatable(error.into_error(summary), may_repeat)
}

fn repeatable(error: Error, may_repeat: bool) -> Error {
    match error.is_transient() && !may_repeat {
        true => error.with_transient(false).with_advice(MAY_BE_PROCESSED),
        false => error,
    }
}

pub(crate) fn certificate_refused(error: TransportError, destination: &Destination) -> Error {
    let summary = format!("{destination} refused the client certificate that the token is bound to");
    Error::new(ErrorKind::Credential, "certificate_refused_by_resource", summary)
        .with_advice(
            "check that the resource trusts the issuer of the certificate; a managed identity mints another one, at most every five minutes if that goes on",
        )
        .with_source(error)
}

pub(crate) fn deadline_exceeded(
    destination: &Destination,
    deadline: Duration,
    phase: Option<RequestPhase>,
    may_repeat: bool,
) -> Error {
    let waited = phase.map(|phase| format!("; waited for {phase}")).unwrap_or_default();
    let summary = format!(
        "{destination} did not respond within {deadline:?}, the deadline for connection, TLS handshake and head of the response{waited}"
    );
    let error = Error::new(ErrorKind::Network, "timeout", summary)
        .with_advice("check that the resource is reachable, or set a longer `deadline`")
        .with_transient(true);
    repeatable(error, may_repeat)
}

pub(crate) fn read_timed_out(limit: Duration) -> Error {
    let summary = format!("the response body stopped: no data arrived within the read timeout of {limit:?}");
    Error::new(ErrorKind::Network, "timeout", summary)
        .with_advice("try again, or set a longer `read_timeout`")
        .with_transient(true)
}

pub(crate) fn request_body_failed(
    destination: &Destination,
    cause: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    let summary = format!("the body of the request to {destination} failed, and was not sent completely");
    Error::new(ErrorKind::Request, "request_body_failed", summary)
        .with_advice("correct the source of the body; its error is the cause of this one")
        .with_source(std::io::Error::other(cause))
}

pub(crate) fn body_failed(error: TransportError) -> Error {
    error.into_error("the response body is incomplete")
}

pub(crate) fn too_large(limit: u64) -> Error {
    let summary = format!("the response body is larger than the limit of {limit} bytes");
    Error::new(ErrorKind::Response, "response_too_large", summary)
        .with_advice("read the body as a stream, or set a higher limit")
}

pub(crate) fn invalid_request(
    summary: &'static str,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::new(ErrorKind::Request, "invalid_request", summary)
        .with_advice("correct the request")
        .with_source(cause)
}
