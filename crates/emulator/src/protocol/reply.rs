//! An HTTP response as the services produce it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// A response body that is produced while it is sent.
#[derive(Clone, Copy)]
pub(crate) enum StreamedBody {
    /// This number of octets: see [`ResponseBody::octets`](crate::protocol::ResponseBody::octets).
    Octets(u64),
    /// The octets of the request.
    Echo,
}

/// A response before it is sent.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// A body that is not held in memory, instead of `body`.
    pub(crate) streamed: Option<StreamedBody>,
    /// The reason of a refusal, for the journal.
    pub(crate) reason: Option<&'static str>,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            streamed: None,
            reason: None,
        }
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
    }

    /// Returns a 200 with this JSON body.
    pub(crate) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// Returns a 200 with a body of octets that is produced while it is sent.
    pub(crate) fn stream(body: StreamedBody) -> Self {
        let reply = Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            streamed: Some(body),
            reason: None,
        };
        reply.header(CONTENT_TYPE, "application/octet-stream")
    }

    /// Returns an error in the format that the metadata service shares with OAuth, with the reason
    /// code added.
    pub(crate) fn refusal(status: StatusCode, error: &str, reason: &'static str, description: &str) -> Self {
        let body = json!({ "error": error, "error_description": description, "reason": reason });
        Self::json(status, &body).because(reason)
    }

    pub(crate) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a header. A value that HTTP forbids is ignored.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }
}
