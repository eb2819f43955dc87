//! The span of a call, with the attributes of OpenTelemetry's HTTP client spans.

use http::Method;
use symbolon_types::Error;
use tracing::Span;
use tracing::field::Empty;

use crate::destination::Destination;

/// The name of methods that are not those of RFC 9110 or RFC 5789.
const OTHER: &str = "_OTHER";

/// Creates the span of a call. It contains neither path nor query, which may be personal.
pub(crate) fn of_call(method: &Method, destination: &Destination, is_bound: bool) -> Span {
    tracing::info_span!(
        "http_client",
        otel.kind = "client",
        otel.name = method_name(method),
        http.request.method = method_name(method),
        http.request.method_original = (method_name(method) == OTHER).then(|| method.as_str()),
        server.address = %destination.host,
        server.port = destination.port,
        proof_of_possession = is_bound,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// Records the result of a call.
pub(crate) fn record(span: &Span, result: Result<http::StatusCode, &Error>, resent: u32) {
    if resent > 0 {
        span.record("http.request.resend_count", resent);
    }
    if let Ok(status) = result {
        span.record("http.response.status_code", status.as_u16());
    }
    let error_type = match &result {
        Ok(status) if status.is_client_error() || status.is_server_error() => status.as_str(),
        Ok(_) => return,
        Err(error) => error.code(),
    };
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

/// Returns the name of a method of RFC 9110 or RFC 5789, or [`OTHER`].
fn method_name(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => {
            name
        }
        _ => OTHER,
    }
}
