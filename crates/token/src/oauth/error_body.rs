//! The error bodies of services, in the forms that are in use.

use std::fmt;

use serde_json::{Map, Value};

/// The maximum depth of `innererror`.
const MOST_INNER_ERRORS: usize = 4;
/// The maximum number of entries in `details`.
const MOST_DETAILS: usize = 4;

/// The text of an error body in JSON, as the other side sent it: its secrets are not replaced.
///
/// Read are the members of OAuth (RFC 6749 §5.2) with those of Microsoft Entra, the error object of
/// Azure's services with its inner errors, of OData, and problem details (RFC 9457 §3). `Display`
/// joins everything that was found. Pass it to
/// [`Error::with_excerpt`](symbolon_types::Error::with_excerpt), which replaces secrets.
///
/// ```
/// # use symbolon_token::ErrorBody;
/// let body = br#"{"error":{"code":"invalid_request","message":"no such identity"}}"#;
/// assert_eq!(ErrorBody::parse(body).unwrap().to_string(), "invalid_request; no such identity");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    code: Option<String>,
    details: Vec<String>,
}

impl ErrorBody {
    /// Reads an error body; `None` if it is not a JSON object with a code or a message.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        Self::of(&body)
    }

    pub(super) fn of(body: &Map<String, Value>) -> Option<Self> {
        let mut parsed = Self::default();
        match body.get("error").or_else(|| body.get("odata.error")) {
            Some(Value::String(code)) if !code.is_empty() => parsed.code = Some(code.clone()),
            Some(Value::Object(nested)) => parsed.add_object(nested),
            _ => {}
        }
        for name in ["code", "Code"] {
            parsed.add_code(body.get(name));
        }
        parsed.add("suberror: ", body.get("suberror"));
        for name in ["error_description", "message", "Message", "title", "detail"] {
            parsed.add("", body.get(name));
        }
        parsed.add_inner(body);
        let is_empty = parsed.code.is_none() && parsed.details.is_empty();
        (!is_empty).then_some(parsed)
    }

    /// Returns the code of the error.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns everything except for the code of the error, empty if there is nothing else.
    #[must_use]
    pub fn details(&self) -> String {
        self.details.join("; ")
    }

    /// Adds the code, message, details and inner errors of an error object.
    fn add_object(&mut self, error: &Map<String, Value>) {
        self.add_code(error.get("code"));
        self.add("", error.get("message"));
        let details = error.get("details").and_then(Value::as_array);
        for detail in details.into_iter().flatten().filter_map(Value::as_object).take(MOST_DETAILS) {
            self.add("", detail.get("code"));
            self.add("", detail.get("message"));
        }
        self.add_inner(error);
    }

    /// Adds the codes and messages of the inner errors, of which each may have another.
    fn add_inner(&mut self, error: &Map<String, Value>) {
        let inner = |error: &Map<String, Value>| {
            let inner = ["innererror", "innerError", "inner_error"].iter().find_map(|name| error.get(*name));
            inner.and_then(Value::as_object).cloned()
        };
        let errors = std::iter::successors(inner(error), inner);
        for error in errors.take(MOST_INNER_ERRORS) {
            self.add("", error.get("code"));
            self.add("", error.get("message"));
        }
    }

    /// Takes the first code; adds another one to the details.
    fn add_code(&mut self, value: Option<&Value>) {
        let Some(code) = value.and_then(text) else { return };
        match &self.code {
            None => self.code = Some(code),
            Some(first) if *first == code => {}
            Some(_) => self.add("", value),
        }
    }

    fn add(&mut self, label: &str, value: Option<&Value>) {
        let Some(text) = value.and_then(text) else { return };
        let detail = format!("{label}{text}");
        // Inner errors and details repeat the message.
        if !self.details.contains(&detail) && self.code.as_ref() != Some(&detail) {
            self.details.push(detail);
        }
    }
}

/// Returns a text, of which OData adds the language.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(localised) => localised.get("value").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.iter().map(String::as_str);
        let parts: Vec<&str> = code.chain(self.details.iter().map(String::as_str)).collect();
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (body, expected) in [
            (r#"{"error":"e","error_description":"d"}"#, "e; d"),
            (r#"{"error":"e","error_description":"d","suberror":"bad_token"}"#, "e; suberror: bad_token; d"),
            (r#"{"error":{"code":"c","message":"m"}}"#, "c; m"),
            (
                r#"{"error":{"code":"c","message":"m","innererror":{"code":"i","innererror":{"message":"j"}}}}"#,
                "c; m; i; j",
            ),
            (r#"{"error":{"code":"c","message":"m","innerError":{"code":"c","message":"m"}}}"#, "c; m"),
            (r#"{"error":{"code":"c","details":[{"code":"x","message":"y"},7]}}"#, "c; x; y"),
            (r#"{"odata.error":{"code":"c","message":{"lang":"en","value":"m"}}}"#, "c; m"),
            (r#"{"code":"c","message":"m"}"#, "c; m"),
            (r#"{"statusCode":500,"message":"m"}"#, "m"),
            (r#"{"Message":"m"}"#, "m"),
            (r#"{"type":"about:blank","title":"t","detail":"d","status":400}"#, "t; d"),
            (r#"{"error":"e","message":"m","error_description":"d"}"#, "e; d; m"),
            (r#"{"error":"e","code":7}"#, "e; 7"),
            (r#"{"error":{"message":"m"}}"#, "m"),
        ] {
            assert_eq!(ErrorBody::parse(body.as_bytes()).unwrap().to_string(), expected, "{body}");
        }
    }

    #[test]
    fn other_bodies_are_no_errors() {
        for body in ["", "<html>", "[]", "{}", r#"{"error":""}"#, r#"{"error":["x"]}"#, r#"{"error":null}"#] {
            assert_eq!(ErrorBody::parse(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = (0..100).fold(r#"{"code":"last"}"#.to_owned(), |inner, number| {
            format!(r#"{{"code":"c{number}","innererror":{inner}}}"#)
        });
        let body = ErrorBody::parse(format!(r#"{{"error":{nested}}}"#).as_bytes()).unwrap();
        assert_eq!(body.to_string(), "c99; c98; c97; c96; c95");
    }
}
