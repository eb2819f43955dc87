//! The proxy's own errors, as responses.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use symbolon_server::{TransferCodingError, lacks_descriptors};
use symbolon_types::{Error, ErrorKind};

/// The header that all errors of the proxy have, and no response of a resource: the code.
pub(crate) const ERROR_HEADER: HeaderName = HeaderName::from_static("x-symbolon-error");

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The challenge for clients that send the secret as a password only when they are asked to (RFC
/// 7617).
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="symbolon proxy""#);

/// A request that gets no response of a resource.
#[derive(Debug)]
pub(crate) struct ProxyFailure {
    pub(crate) status: StatusCode,
    pub(crate) error: Box<Error>,
}

impl ProxyFailure {
    fn new(status: StatusCode, error: Error) -> Self {
        Self { status, error: Box::new(error) }
    }

    pub(crate) fn wrong_host() -> Self {
        let message = "the Host header does not name this proxy";
        let error = Error::new(ErrorKind::Request, "proxy_host_mismatch", message)
            .with_advice("use the URL that the proxy printed");
        Self::new(StatusCode::MISDIRECTED_REQUEST, error)
    }

    pub(crate) fn secret_required() -> Self {
        let message = "the secret of the proxy is missing or wrong";
        let error = Error::new(ErrorKind::Request, "proxy_secret_required", message).with_advice(
            "send the secret that this run of the proxy printed: in X-Symbolon-Secret, or as the password of the URL",
        );
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    pub(crate) fn user_not_allowed(uid: u32) -> Self {
        let message = format!("user {uid} may not use this proxy");
        let error = Error::new(ErrorKind::Request, "proxy_user_not_allowed", message)
            .with_advice("add the user to `allow_uids` in the file with routes, or to --allow-uid");
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(crate) fn no_route() -> Self {
        let error =
            Error::new(ErrorKind::Request, "proxy_route_missing", "the proxy has no route for this path")
                .with_advice("check the path, or add a route");
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(crate) fn invalid_target() -> Self {
        let message = "the target of the request is no absolute path, or has the segments `.` or `..`";
        let error = Error::new(ErrorKind::Request, "proxy_target_invalid", message)
            .with_advice("send a normalized path; the proxy is no forward proxy");
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn head_too_large(limit: usize) -> Self {
        let message = format!("the header fields of the request have more than {limit} bytes");
        let error = Error::new(ErrorKind::Request, "proxy_headers_too_large", message)
            .with_advice("send fewer or shorter header fields");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error)
    }

    pub(crate) fn transfer_encoding(error: TransferCodingError) -> Self {
        let status = error.status();
        let error = Error::new(ErrorKind::Request, "proxy_transfer_encoding_refused", error.to_string())
            .with_advice("send the body with Transfer-Encoding: chunked alone, or with Content-Length");
        Self::new(status, error)
    }

    pub(crate) fn busy() -> Self {
        let message = "the proxy has no free slot for another connection";
        let error = Error::new(ErrorKind::Service, "proxy_busy", message)
            .with_advice("try again, or raise the limit of open files of the proxy (ulimit -n)")
            .with_transient(true)
            .with_retry_after(Some(Duration::from_secs(1)));
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    pub(crate) fn unexpected_coding(error: TransferCodingError) -> Self {
        let message = "the resource sent a transfer coding that was not requested";
        let error = Error::new(ErrorKind::Response, "invalid_response", message)
            .with_advice(
                "check the server in front of the resource; a compressed body needs Content-Encoding",
            )
            .with_source(error);
        Self::new(StatusCode::BAD_GATEWAY, error)
    }

    pub(crate) fn unexpected_upgrade() -> Self {
        let message = "the resource switched to a protocol that the client did not request";
        let error = Error::new(ErrorKind::Response, "invalid_response", message)
            .with_advice("check that the URL of the route is that of the resource");
        Self::new(StatusCode::BAD_GATEWAY, error)
    }
}

/// A token could not be requested, or the resource did not respond.
impl From<Error> for ProxyFailure {
    fn from(error: Error) -> Self {
        if lacks_descriptors(&error) {
            let message = "the proxy has no free file descriptor for a connection";
            let error = Error::new(ErrorKind::Service, "too_many_open_files", message)
                .with_advice("raise the limit of open files of the proxy (ulimit -n)")
                .with_transient(true)
                .with_retry_after(Some(Duration::from_secs(1)))
                .with_source(error);
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, error);
        }
        let status = match error.code() {
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            "request_body_failed" => StatusCode::BAD_REQUEST,
            _ if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error)
    }
}

impl ProxyFailure {
    /// Returns the response. A gRPC client reads the status from the fields of its own protocol.
    pub(crate) fn response(&self, is_grpc: bool) -> Response<Full<Bytes>> {
        let error = &self.error;
        let retry_after = error.retry_after().map(|wait| {
            // Rounded up, because a retry that comes early is refused again.
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        });
        let body = json!({ "error": {
            "code": error.code(),
            "message": error.to_string(),
            "status": error.status(),
            "error_codes": error.server_codes(),
            "correlation_id": error.correlation_id().map(|id| id.to_string()),
            "retryable": error.is_transient(),
            "service_message": error.excerpt().filter(|text| !text.is_empty()),
            "retry_after": retry_after,
        }});
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // The code of an OAuth error is text of the server.
        let code = Some(error.code()).filter(|code| code.bytes().all(|byte| byte.is_ascii_graphic()));
        let code = code.and_then(|code| HeaderValue::from_str(code).ok());
        let code = code.unwrap_or(HeaderValue::from_static("unknown"));
        headers.insert(ERROR_HEADER, code);
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if is_grpc {
            headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(self.status)));
            if let Ok(message) = HeaderValue::try_from(percent_encoded(&error.to_string())) {
                headers.insert(GRPC_MESSAGE, message);
            }
        }
        response
    }
}

/// Returns the status code of gRPC for a status of HTTP, by the mapping of its clients.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        502..=504 => 14,
        _ => 2,
    }
}

/// Encodes a message as gRPC does: all octets except visible ASCII and spaces.
fn percent_encoded(message: &str) -> String {
    let encode = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    message.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_map_to_statuses() {
        let error = |kind, code| Error::new(kind, code, "it failed");
        for (error, expected) in [
            (error(ErrorKind::Environment, "mtls_pop_not_supported_for_environment"), 502),
            (error(ErrorKind::Service, "x").with_status(429).with_transient(true), 503),
            (error(ErrorKind::Credential, "invalid_client").with_status(401), 502),
            (error(ErrorKind::Network, "timeout").with_transient(true), 504),
            (error(ErrorKind::Network, "transport_error").with_transient(true), 503),
            (error(ErrorKind::Network, "transport_error"), 502),
        ] {
            assert_eq!(ProxyFailure::from(error).status.as_u16(), expected);
        }
    }

    #[test]
    fn odd_codes_are_no_header() {
        let failure = ProxyFailure::from(Error::new(ErrorKind::Service, "größe", "it failed"));
        let response = failure.response(false);
        assert_eq!(response.headers()[ERROR_HEADER], "unknown");
        assert!(!response.headers().contains_key(GRPC_STATUS));
    }

    #[test]
    fn grpc_clients_get_status_and_message() {
        let error = Error::new(ErrorKind::Network, "timeout", "100 % of ü\r\n").with_transient(true);
        let response = ProxyFailure::from(error).response(true);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[GRPC_STATUS]),
            (504, &"14".parse().unwrap())
        );
        let message = response.headers()[GRPC_MESSAGE].to_str().unwrap();
        assert!(message.starts_with("100 %25 of %C3%BC"), "{message}");
    }
}
