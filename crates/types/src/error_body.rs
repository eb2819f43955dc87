//! The error bodies of services, in the forms that are in use (docs/protocol/errors.md#bodies).

use std::fmt;

use serde_json::{Map, Value};

use crate::Secrets;
use crate::advice::{MAX_SERVER_CODES, aadsts_numbers};

/// The maximum depth of objects: the body, its error, and four inner errors.
const MAX_DEPTH: usize = 5;
/// The maximum number of entries of an array that are read.
const MAX_ENTRIES: usize = 4;
/// The maximum number of texts besides the code.
const MAX_DETAILS: usize = 16;

// The names of members, compared without case.
const ERRORS: [&str; 2] = ["error", "odata.error"];
const CODES: [&str; 2] = ["code", "errorCode"];
const TEXTS: [&str; 8] = [
    "error_description",
    "message",
    "errorMessage",
    "exceptionMessage",
    "title",
    "detail",
    // An array of errors elsewhere.
    "details",
    "errors",
];
const ARRAYS: [&str; 2] = ["details", "errors"];
/// `data` is that of the Azure Developer CLI.
const INNER: [&str; 3] = ["innererror", "inner_error", "data"];
const CORRELATION_IDS: [&str; 2] = ["correlationId", "correlation_id"];

/// The text of an error body in JSON, as the other side sent it: its secrets are not replaced.
///
/// Read are the members of OAuth (RFC 6749 §5.2) with those of Microsoft Entra, the error object of
/// Azure's services with its details and inner errors, of OData, and problem details (RFC 9457 §3).
/// `Display` joins everything that was found. Pass it to
/// [`Error::with_excerpt`](crate::Error::with_excerpt), which replaces secrets.
///
/// ```
/// # use symbolon_types::ErrorBody;
/// let body = br#"{"error":{"code":"invalid_request","message":"no such identity"}}"#;
/// assert_eq!(ErrorBody::parse(body).unwrap().to_string(), "invalid_request; no such identity");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    code: Option<String>,
    details: Vec<String>,
    server_codes: Vec<u32>,
    correlation_id: Option<String>,
}

impl ErrorBody {
    /// Reads an error body; `None` if it is not a JSON object with a code, a message or a
    /// correlation id.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut parsed = Self::default();
        parsed.add_object(&json_object(body)?, 0, false);
        let is_empty = parsed.is_empty() && parsed.correlation_id.is_none();
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

    /// Returns true if the body has neither a code nor a message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.code.is_none() && self.details.is_empty()
    }

    /// Returns the id under which the service logged the request.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// Returns the AADSTS numbers: those in `error_codes`, otherwise those in the texts. Numbers
    /// that contain one of the secrets that were sent are omitted.
    #[must_use]
    pub fn server_codes(&self, sent: &Secrets) -> Vec<u32> {
        let mut numbers = match &self.server_codes[..] {
            [] => aadsts_numbers(&sent.redact(&self.to_string())),
            numbers => numbers.to_vec(),
        };
        numbers.retain(|number| !sent.are_in(&number.to_string()));
        numbers.truncate(MAX_SERVER_CODES);
        numbers
    }

    /// Adds the members of the body, of an error object or of an inner error.
    fn add_object(&mut self, object: &Map<String, Value>, depth: usize, is_inner: bool) {
        if depth > MAX_DEPTH {
            return;
        }
        for error in members(object, &ERRORS) {
            match error {
                Value::Object(nested) => self.add_object(nested, depth + 1, is_inner),
                code => self.add_code(code, is_inner),
            }
        }
        for code in members(object, &CODES) {
            self.add_code(code, is_inner);
        }
        for text in members(object, &["suberror"]) {
            self.add("suberror: ", text);
        }
        for text in members(object, &TEXTS) {
            self.add("", text);
        }
        let arrays = members(object, &ARRAYS).filter_map(Value::as_array);
        let entries = arrays.flat_map(|entries| entries.iter().take(MAX_ENTRIES));
        for inner in entries.chain(members(object, &INNER)).filter_map(Value::as_object) {
            self.add_object(inner, depth + 1, true);
        }
        if self.server_codes.is_empty() {
            self.server_codes = members(object, &["error_codes"]).flat_map(numbers).collect();
        }
        let id = members(object, &CORRELATION_IDS).find_map(text);
        self.correlation_id = self.correlation_id.take().or(id);
    }

    /// Takes the first code; adds another one to the details.
    fn add_code(&mut self, value: &Value, is_inner: bool) {
        match (text(value), &self.code) {
            (Some(code), None) if !is_inner => self.code = Some(code),
            _ => self.add("", value),
        }
    }

    fn add(&mut self, label: &str, value: &Value) {
        let Some(text) = text(value) else { return };
        let detail = format!("{label}{text}");
        // Inner errors and details repeat the message.
        let is_new = !self.details.contains(&detail) && self.code.as_ref() != Some(&detail);
        if is_new && self.details.len() < MAX_DETAILS {
            self.details.push(detail);
        }
    }
}

/// Parses a JSON object, which some services begin with a byte order mark.
fn json_object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)).ok()
}

/// Returns the members with these names, in the order of the names.
fn members<'a>(
    object: &'a Map<String, Value>,
    names: &'static [&'static str],
) -> impl Iterator<Item = &'a Value> {
    let with_name = |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    names.iter().filter_map(move |name| Some(with_name(name)?.1))
}

/// Returns a text, of which OData adds the language.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Object(localised) => localised.get("value")?.as_str()?.trim().to_owned(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Reads numbers: a list or one, each as a number or as text.
fn numbers(value: &Value) -> Vec<u32> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().filter_map(number).collect(),
        value => number(value).into_iter().collect(),
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
    use crate::Secret;

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
            // Service Fabric, WCF, .NET, JSON:API, the Azure Developer CLI.
            (r#"{"Error":{"Code":"c","Message":"m"}}"#, "c; m"),
            (r#"{"ErrorCode":"c","ErrorMessage":"m"}"#, "c; m"),
            (r#"{"Message":"m","ExceptionMessage":"x"}"#, "m; x"),
            (r#"{"errors":[{"code":"c","detail":"d"},{"code":"e"}]}"#, "c; d; e"),
            (r#"{"type":"consoleMessage","data":{"message":"\nERROR: no\n"}}"#, "ERROR: no"),
            (r#"{"error":{"error":"e","error_description":"d"}}"#, "e; d"),
            (r#"{"error":"e","details":"d"}"#, "e; d"),
            // The code of an inner error is none of the error.
            (r#"{"error":{"message":"m","innererror":{"code":"i"}}}"#, "m; i"),
            ("\u{feff}{\"error\":\"e\"}", "e"),
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
        let entries = (0..5).map(|number| format!(r#"{{"message":"m{number}"}}"#)).collect::<Vec<_>>();
        let body = format!(r#"{{"details":[{}]}}"#, entries.join(","));
        assert_eq!(ErrorBody::parse(body.as_bytes()).unwrap().to_string(), "m0; m1; m2; m3");
        let wide = (0..5).fold(r#"{"code":"c"}"#.to_owned(), |inner, depth| {
            let entries: Vec<_> =
                (0..4).map(|number| inner.replace(":\"", &format!(":\"c{depth}{number}"))).collect();
            format!(r#"{{"details":[{}]}}"#, entries.join(","))
        });
        let details = ErrorBody::parse(wide.as_bytes()).unwrap().details();
        assert_eq!(details.split("; ").count(), MAX_DETAILS, "{details}");
    }

    #[test]
    fn numbers_are_listed_or_in_the_text() {
        let secret = Secrets::from(Secret::new("700016"));
        for (body, sent, expected) in [
            (
                r#"{"error":"x","error_codes":[700016,"7",-1,99999999999]}"#,
                &Secrets::none(),
                &[700_016, 7][..],
            ),
            (r#"{"error":"x","error_codes":700016}"#, &Secrets::none(), &[700_016]),
            (r#"{"error":"x","error_description":"AADSTS90002: no"}"#, &Secrets::none(), &[90_002]),
            (
                r#"{"error":{"code":"x","innererror":{"message":"AADSTS500011: no"}}}"#,
                &Secrets::none(),
                &[500_011],
            ),
            (r#"{"error":"x","error_description":"AADSTS7: no","error_codes":[]}"#, &Secrets::none(), &[7]),
            (
                r#"{"error":"x","error_codes":[1,2,3,4,5,6,7,8,9]}"#,
                &Secrets::none(),
                &[1, 2, 3, 4, 5, 6, 7, 8],
            ),
            (r#"{"error":"x","error_codes":[700016,90002]}"#, &secret, &[90_002]),
            (r#"{"error":"AADSTS700016 AADSTS90002"}"#, &secret, &[90_002]),
            (r#"{"error":"x"}"#, &Secrets::none(), &[]),
        ] {
            let numbers = ErrorBody::parse(body.as_bytes()).unwrap().server_codes(sent);
            assert_eq!(numbers, expected, "{body}");
        }
    }

    #[test]
    fn correlation_id_is_read() {
        for (body, expected) in [
            (r#"{"error":{"correlationId":"i","code":"c"},"correlation_id":"outer"}"#, Some("i")),
            (r#"{"error":"e","correlation_id":"i"}"#, Some("i")),
            (r#"{"correlationId":"i"}"#, Some("i")),
            (r#"{"error":"e"}"#, None),
        ] {
            let body = ErrorBody::parse(body.as_bytes()).unwrap();
            assert_eq!(body.correlation_id(), expected, "{body:?}");
        }
        assert!(ErrorBody::parse(br#"{"correlationId":"i"}"#).unwrap().is_empty());
    }
}
