//! Why a request gets no token: as the client is told, and as the log has it.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use symbolon::{CorrelationId, Error, ErrorKind};

/// Why a request gets no token.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A name that is stable, for the log.
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) correlation_id: CorrelationId,
}

impl Refusal {
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

/// A token that could not be had.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
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

/// What SDKs do with a status is what they should do: 404, 408, 429, 500, 503 and 504 are tried again by all, 400, 501
/// and 502 by few (managed-identity sources §4).
fn status(error: &Error) -> StatusCode {
    match (error.kind(), error.status()) {
        (ErrorKind::Request, _) => StatusCode::BAD_REQUEST,
        (ErrorKind::Environment, _) => StatusCode::NOT_IMPLEMENTED,
        (_, Some(429)) => StatusCode::TOO_MANY_REQUESTS,
        // The host does not know the identity, or not yet.
        (ErrorKind::Service, Some(400)) => StatusCode::BAD_REQUEST,
        (ErrorKind::Service, Some(404)) => StatusCode::NOT_FOUND,
        _ if error.code() == "timeout" => StatusCode::GATEWAY_TIMEOUT,
        _ if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_status_that_makes_sdks_do_the_right_thing() {
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

    #[test]
    fn what_is_told_is_what_the_error_tells() {
        let id = CorrelationId::random();
        let error = Error::new(ErrorKind::Service, "managed_identity_request_failed", "it failed")
            .with_advice("wait")
            .with_excerpt("busy")
            .with_retry_after(Some(Duration::from_secs(7)))
            .with_correlation_id(id);
        let refusal = Refusal::from(error);
        assert_eq!(refusal.message, "it failed; wait; the service said: busy");
        assert_eq!((refusal.retry_after, refusal.correlation_id), (Some(Duration::from_secs(7)), id));
    }
}
