//! An HTTP request as the services receive it.

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method};
use symbolon_types::Thumbprint;
use url::form_urlencoded;

/// A completely read request.
pub(crate) struct ParsedRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The client certificate of the connection.
    pub(crate) certificate: Option<Thumbprint>,
}

impl ParsedRequest {
    pub(crate) fn new(mut head: Parts, body: Bytes, certificate: Option<Thumbprint>) -> Self {
        // The authority takes the place of the header in HTTP/2 (RFC 9113 §8.3.1).
        let authority = head.uri.authority().and_then(|authority| authority.as_str().parse().ok());
        if let Some(authority) = authority {
            head.headers.entry(HOST).or_insert(authority);
        }
        Self {
            path: head.uri.path().to_owned(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            query: decode_form(head.uri.query().unwrap_or_default().as_bytes()),
            method: head.method,
            headers: head.headers,
            body,
            certificate,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns true if the body has this media type, with any parameters.
    pub(crate) fn has_content_type(&self, media_type: &str) -> bool {
        let own = self.header("content-type").and_then(|value| value.split(';').next());
        own.is_some_and(|own| own.trim().eq_ignore_ascii_case(media_type))
    }

    /// Returns the value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Decodes the body as form parameters.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        decode_form(&self.body)
    }
}

/// Decodes `application/x-www-form-urlencoded`.
pub(crate) fn decode_form(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}
