//! JSON from a user, with errors that do not quote it.

use serde_json::error::Category;
use serde_json::{Map, Value};

/// Parses an object. The error says what the text is instead, and where, without quoting it.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("is JSON, but not an object".to_owned()),
        Err(error) => {
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                _ => "a syntax error",
            };
            Err(format!("is not JSON: {what} at line {}, column {}", error.line(), error.column()))
        }
    }
}
