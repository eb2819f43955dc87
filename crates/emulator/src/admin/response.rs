//! The responses of the admin server.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use symbolon_types::printable_json;

use crate::protocol::ResponseBody;

/// A response of the admin server.
pub(super) type AdminResponse = Response<ResponseBody>;

pub(super) fn error(status: StatusCode, error: &str, message: &str) -> AdminResponse {
    json(status, &json!({ "error": error, "message": message }))
}

pub(super) fn json(status: StatusCode, body: &Value) -> AdminResponse {
    text(status, "application/json", printable_json(&body.to_string()))
}

pub(super) fn text(status: StatusCode, media_type: &'static str, text: String) -> AdminResponse {
    with_body(status, media_type, ResponseBody::whole(Bytes::from(text)))
}

pub(super) fn with_body(status: StatusCode, media_type: &'static str, body: ResponseBody) -> AdminResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
