//! One request as the endpoints see it, and what they answer.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use url::form_urlencoded;

use crate::connection::Connection;

/// A request that was read to its end.
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) connection: Arc<Connection>,
}

impl Exchange {
    pub(crate) fn new(head: &http::request::Parts, body: Bytes, connection: Arc<Connection>) -> Self {
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            headers: head.headers.clone(),
            body,
            connection,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the body has this media type, whatever its parameters.
    pub(crate) fn has_content_type(&self, media_type: &str) -> bool {
        let own = self.header("content-type").and_then(|value| value.split(';').next());
        own.is_some_and(|own| own.trim().eq_ignore_ascii_case(media_type))
    }

    /// The value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as form parameters.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }
}

/// Decodes `application/x-www-form-urlencoded`.
pub(crate) fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// An answer that is still to be sent.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Why the emulator refused, for the journal.
    pub(crate) reason: Option<&'static str>,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.to_string().into(), reason: None }
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
    }

    /// 200 with this JSON.
    pub(crate) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// An error of the shape that the metadata service shares with OAuth, and its reason code.
    pub(crate) fn refusal(status: StatusCode, error: &str, reason: &'static str, description: &str) -> Self {
        let body = json!({ "error": error, "error_description": description, "reason": reason });
        Self::json(status, &body).because(reason)
    }

    pub(crate) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a header; a value that HTTP forbids is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }
}
