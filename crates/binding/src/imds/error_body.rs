//! Error bodies of managed identity sources (docs/protocol/sources.md#errors).

use std::fmt;

use serde_json::{Map, Value};
use symbolon_transport::Response;
use symbolon_types::advice::{MAX_SERVER_CODES, aadsts_numbers, is_identity_missing, source_advice};
use symbolon_types::{Error, Secrets};

/// Error body of a managed identity source, in any of its forms.
#[derive(Debug)]
pub struct SourceErrorBody<'a> {
    response: &'a Response,
    details: String,
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
        let sent = response.sent_secrets();
        let body: Map<String, Value> = serde_json::from_slice(response.body()).unwrap_or_default();
        let details = details(&source, &body);
        let server_codes = server_codes(&body, &details, sent);
        Self { response, details, server_codes }
    }

    /// Adds the text and the numbers of the body to an error, and the advice that follows from
    /// them. Without such advice, that of the error stays.
    #[must_use]
    pub fn add_to(self, error: Error) -> Error {
        let Self { response, details, server_codes } = self;
        let body = String::from_utf8_lossy(response.body());
        let text = if details.is_empty() { &*body } else { &details };
        let error = match source_advice(text, &server_codes) {
            Some(advice) => error.with_advice(advice),
            None => error,
        };
        let error = if is_identity_missing(text) { error.with_source(IdentityMissing) } else { error };
        let error = error.with_server_codes(server_codes);
        if text.is_empty() { error } else { error.with_excerpt(text, response.sent_secrets()) }
    }
}

/// Joins the texts of an error body: code, message, description, and the id under which the source,
/// unlike the token service, logged the request.
fn details(source: &impl fmt::Display, body: &Map<String, Value>) -> String {
    let text = |from: &Map<String, Value>, name: &str| {
        from.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let correlation = |from: &Map<String, Value>| {
        let id = text(from, "correlationId").or_else(|| text(from, "correlation_id"))?;
        Some(format!("{source} correlation id: {id}"))
    };
    let nested = body.get("error").and_then(Value::as_object);
    let parts = [
        text(body, "error"),
        nested.and_then(|error| text(error, "code")),
        nested.and_then(|error| text(error, "message")),
        text(body, "message"),
        text(body, "error_description"),
        nested.and_then(correlation).or_else(|| correlation(body)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Returns the AADSTS numbers, if the source forwards those of the token service: in `error_codes`,
/// otherwise in the text.
fn server_codes(body: &Map<String, Value>, details: &str, sent: &Secrets) -> Vec<u32> {
    let number = |code: &Value| match code {
        Value::String(text) => text.parse().ok(),
        code => code.as_u64().and_then(|code| u32::try_from(code).ok()),
    };
    let listed = body.get("error_codes").and_then(Value::as_array);
    let listed: Vec<u32> = listed.into_iter().flatten().filter_map(number).collect();
    let mut numbers = if listed.is_empty() { aadsts_numbers(&sent.redact(details)) } else { listed };
    numbers.retain(|number| !sent.are_in(&number.to_string()));
    numbers.truncate(MAX_SERVER_CODES);
    numbers
}
