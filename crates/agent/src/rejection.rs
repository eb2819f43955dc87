//! Rejections: the status and message for the client, the reason for the log.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use symbolon::{CorrelationId, Error, ErrorKind};
use symbolon_server::lacks_descriptors;

/// A request that gets no token.
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    /// A stable name for the log.
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) correlation_id: CorrelationId,
}

impl Rejection {
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: message.into(),
            retry_after: None,
            correlation_id: CorrelationId::random(),
        }
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        if lacks_descriptors(&error) {
            let message = "The agent has no free file descriptor for a connection to the host: raise the limit of \
                           open files of its process (ulimit -n), and try again";
            let mut rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_open_files", message);
            rejection.retry_after = Some(Duration::from_secs(1));
            return rejection;
        }
        let message = match error.excerpt().filter(|excerpt| !excerpt.is_empty()) {
            Some(excerpt) => format!("{error}; the service said: {excerpt}"),
            None => error.to_string(),
        };
        Self {
            status: status(&error),
            reason: error.code().to_owned().into(),
            message: message.into(),
            retry_after: error.retry_after(),
            correlation_id: error.correlation_id().unwrap_or_else(CorrelationId::random),
        }
    }
}

/// Returns the status for a failed token request. Statuses 429, 503 and 504 are retried by most
/// clients, 404 and 502 by some, 400 and 501 by none.
///
/// docs/protocol/sources.md#retries
fn status(error: &Error) -> StatusCode {
    match (error.kind(), error.status()) {
        (ErrorKind::Request, _) => StatusCode::BAD_REQUEST,
        (ErrorKind::Environment, _) => StatusCode::NOT_IMPLEMENTED,
        (_, Some(429)) => StatusCode::TOO_MANY_REQUESTS,
        // The identity does not exist, or is not assigned yet.
        (ErrorKind::Service, Some(400)) => StatusCode::BAD_REQUEST,
        (ErrorKind::Service, Some(404)) => StatusCode::NOT_FOUND,
        _ if error.code() == "timeout" => StatusCode::GATEWAY_TIMEOUT,
        _ if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_map_to_statuses() {
        let error = |kind, code| Error::new(kind, code, "it failed");
        for (error, expected) in [
            (error(ErrorKind::Request, "invalid_scope"), 400),
            (error(ErrorKind::Environment, "mtls_pop_not_supported_in_imds_v1"), 501),
            (error(ErrorKind::Service, "x").with_status(429).with_transient(true), 429),
            (error(ErrorKind::Service, "x").with_status(400), 400),
            (error(ErrorKind::Service, "x").with_status(404).with_transient(true), 404),
            (error(ErrorKind::Service, "x").with_status(500).with_transient(true), 503),
            (error(ErrorKind::Service, "x").with_status(403), 502),
            (error(ErrorKind::Credential, "invalid_client").with_status(400), 502),
            (error(ErrorKind::Network, "timeout").with_transient(true), 504),
            (error(ErrorKind::Network, "transport_error").with_transient(true), 503),
            (error(ErrorKind::Network, "transport_error"), 502),
            (error(ErrorKind::Response, "invalid_response"), 502),
        ] {
            assert_eq!(status(&error).as_u16(), expected, "{error:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn lack_of_descriptors_is_named() {
        let limit = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let unreachable = |source: io::Error| {
            Error::new(ErrorKind::Network, "managed_identity_unreachable", "cannot be reached")
                .with_source(source)
        };
        let rejection = Rejection::from(unreachable(io::Error::other(limit)));
        assert_eq!((rejection.status.as_u16(), &*rejection.reason), (503, "too_many_open_files"));
        assert!(rejection.message.contains("ulimit -n"), "{}", rejection.message);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Rejection::from(unreachable(refused)).reason, "managed_identity_unreachable");
    }

    #[test]
    fn error_details_reach_the_client() {
        let id = CorrelationId::random();
        let error = Error::new(ErrorKind::Service, "managed_identity_request_failed", "it failed")
            .with_advice("wait")
            .with_excerpt("busy", &symbolon::parts::types::Secrets::none())
            .with_retry_after(Some(Duration::from_secs(7)))
            .with_correlation_id(id);
        let rejection = Rejection::from(error);
        assert_eq!(rejection.message, "it failed; wait; the service said: busy");
        assert_eq!((rejection.retry_after, rejection.correlation_id), (Some(Duration::from_secs(7)), id));
    }
}
