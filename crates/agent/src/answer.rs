//! Answers as App Service writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use symbolon::Token;

use crate::refusal::Refusal;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Times are texts there, and `not_before`, which only the token service knows, is left out.
pub(crate) fn token(token: &Token, resource: &str) -> Answer {
    let mut body = json!({
        "access_token": token.secret().expose(),
        "expires_on": unix(token.expires_on()).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if let Some(client_id) = token.client_id() {
        body["client_id"] = client_id.into();
    }
    respond(StatusCode::OK, &body)
}

pub(crate) fn refusal(refusal: &Refusal) -> Answer {
    let body = json!({
        "statusCode": refusal.status.as_u16(),
        "message": refusal.message,
        "correlationId": refusal.correlation_id.to_string(),
    });
    let mut answer = respond(refusal.status, &body);
    if let Some(wait) = refusal.retry_after {
        // Rounded up: who comes early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    answer
}

pub(crate) fn healthy() -> Answer {
    respond(StatusCode::OK, &json!({ "status": "ok" }))
}

fn respond(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] as [(HeaderName, &'static str); 3]
    {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn unix(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
