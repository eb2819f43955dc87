//! Error bodies of managed identity sources (docs/protocol/sources.md#errors).

use std::fmt;

use symbolon_transport::Response;
use symbolon_types::advice::{is_identity_missing, source_advice};
use symbolon_types::{Error, ErrorBody};

/// Error body of a managed identity source, in any of its forms.
#[derive(Debug)]
pub struct SourceErrorBody<'a> {
    response: &'a Response,
    text: String,
    server_codes: Vec<u32>,
}

/// Cause of an error: the source does not have the requested identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityMissing;

impl fmt::Display for IdentityMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source reports that this host does not have the identity")
    }
}

impl std::error::Error for IdentityMissing {}

impl<'a> SourceErrorBody<'a> {
    /// Reads the body of a response. `source` is named beside a correlation id of its own.
    #[must_use]
    pub fn read(source: impl fmt::Display, response: &'a Response) -> Self {
        let body = ErrorBody::parse(response.body());
        let server_codes = body.as_ref().map(|body| body.server_codes(response.sent_secrets()));
        let text = match body {
            Some(body) => with_correlation_id(&source, &body),
            None => String::from_utf8_lossy(response.body()).into_owned(),
        };
        Self { response, text, server_codes: server_codes.unwrap_or_default() }
    }

    /// Adds the text and the numbers of the body to an error, and the advice that follows from
    /// them. Without such advice, that of the error stays.
    #[must_use]
    pub fn add_to(self, error: Error) -> Error {
        let Self { response, text, server_codes } = self;
        let error = match source_advice(&text, &server_codes) {
            Some(advice) => error.with_advice(advice),
            None => error,
        };
        let error = if is_identity_missing(&text) { error.with_source(IdentityMissing) } else { error };
        let error = error.with_server_codes(server_codes);
        if text.is_empty() { error } else { error.with_excerpt(&text, response.sent_secrets()) }
    }
}

/// Returns the text of an error body, and the id under which the source, unlike the token service,
/// logged the request.
fn with_correlation_id(source: &impl fmt::Display, body: &ErrorBody) -> String {
    let id = body.correlation_id().map(|id| format!("{source} correlation id: {id}"));
    let text = Some(body.to_string()).filter(|_| !body.is_empty());
    text.into_iter().chain(id).collect::<Vec<_>>().join("; ")
}
