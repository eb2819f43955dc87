//! The span of a call, with the attributes of OpenTelemetry's HTTP client spans.

use http::Method;
use symbolon_types::Error;
use tracing::Span;
use tracing::field::Empty;

use crate::destination::Destination;

/// Creates the span of a call. It contains neither path nor query, which may be personal.
pub(crate) fn of_call(method: &Method, destination: &Destination, is_bound: bool) -> Span {
    tracing::info_span!(
        "http_client",
        otel.kind = "client",
        otel.name = method_name(method),
        http.request.method = method_name(method),
        server.address = %destination.host,
        server.port = destination.port,
        proof_of_possession = is_bound,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// Records the result of a call.
pub(crate) fn record(span: &Span, result: Result<http::StatusCode, &Error>, resent: u32) {
    if resent > 0 {
        span.record("http.request.resend_count", resent);
    }
    match result {
        Ok(status) => {
            span.record("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                span.record("error.type", status.as_str());
            }
        }
        Err(error) => {
            span.record("error.type", error.code());
        }
    }
}

/// Returns the name of a method of RFC 9110 or RFC 5789, or `_OTHER`.
fn method_name(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => {
            name
        }
        _ => "_OTHER",
    }
}
