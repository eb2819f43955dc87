//! Responses in the format of App Service.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use symbolon::Token;

use crate::rejection::Rejection;

pub(crate) type AgentResponse = Response<Full<Bytes>>;

/// Returns the response with a token. Times are strings, and `not_before` is left out because only
/// the token service has it.
pub(crate) fn token(token: &Token, resource: &str) -> AgentResponse {
    let expires_on = token.expires_on().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut body = json!({
        "access_token": token.secret().expose(),
        "expires_on": expires_on.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if let Some(client_id) = token.client_id() {
        body["client_id"] = client_id.into();
    }
    with_body(StatusCode::OK, &body)
}

/// Returns the response to a request that gets no token.
pub(crate) fn rejection(rejection: &Rejection) -> AgentResponse {
    let body = json!({
        "statusCode": rejection.status.as_u16(),
        "message": rejection.message,
        "correlationId": rejection.correlation_id.to_string(),
    });
    let mut response = with_body(rejection.status, &body);
    if let Some(wait) = rejection.retry_after {
        // Rounded up, because a retry that comes early is rejected again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if rejection.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

/// Returns the response of the health endpoint.
pub(crate) fn healthy() -> AgentResponse {
    with_body(StatusCode::OK, &json!({ "status": "ok" }))
}

fn with_body(status: StatusCode, body: &Value) -> AgentResponse {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] as [(HeaderName, &'static str); 3]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
