//! The parts of a JWT (RFC 7519), decoded but not verified.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use crate::json;

/// A decoded token, without its signature so that none can be printed.
pub(super) struct DecodedJwt {
    /// The scheme before the token: `Bearer`, `mtls_pop`, …
    pub(super) scheme: Option<String>,
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
}

/// Decodes a token. Errors give the position but never quote the token.
pub(super) fn parse(text: &str) -> Result<DecodedJwt, String> {
    let text = without_field_name(text.trim());
    let mut words = text.split_ascii_whitespace();
    let (scheme, token) = match (words.next(), words.next(), words.next()) {
        (None, ..) => return Err("there is no token".to_owned()),
        (Some(token), None, _) => (None, token),
        (Some(scheme), Some(token), None) => (Some(scheme), token),
        _ => {
            let error = "expected one token, optionally after its scheme, as `token` prints it with --output raw, json \
                         or header";
            return Err(error.to_owned());
        }
    };
    // A word that is not a scheme could be a part of the token and is not quoted.
    let scheme = match scheme {
        Some(scheme) if !is_scheme(scheme) => {
            return Err("the word before the space is not a scheme such as Bearer".to_owned());
        }
        scheme => scheme.map(str::to_owned),
    };
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { return Err(not_three(parts.len())) };
    let header = object("header", header)?;
    let payload = object("payload", payload)?;
    bytes("signature", signature)?;
    Ok(DecodedJwt { scheme, header, payload })
}

/// Removes the name of a whole `Authorization` header, as `--output header` prints it.
fn without_field_name(text: &str) -> &str {
    match text.split_once(':') {
        Some((name, value)) if name.trim_end().eq_ignore_ascii_case("authorization") => value,
        _ => text,
    }
}

/// Returns whether a word can be a scheme, of which the longest in use has ten characters.
fn is_scheme(word: &str) -> bool {
    word.len() <= 16 && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn not_three(parts: usize) -> String {
    match parts {
        1 => "the token is opaque and cannot be decoded (a JWT has three parts separated by dots)".to_owned(),
        5 => "the token is encrypted (JWE) and can be decoded by its resource only".to_owned(),
        parts => format!("the token has {parts} parts separated by dots; a JWT has three"),
    }
}

fn object(part: &str, encoded: &str) -> Result<Map<String, Value>, String> {
    json::object(&bytes(part, encoded)?).map_err(|what| format!("the {part} {what}"))
}

fn bytes(part: &str, encoded: &str) -> Result<Vec<u8>, String> {
    let is_foreign = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if let Some(position) = encoded.chars().position(is_foreign) {
        return Err(format!(
            "the {part} is not base64url: character {} is not in its alphabet",
            position + 1
        ));
    }
    Base64UrlUnpadded::decode_vec(encoded).map_err(|_| {
        format!(
            "the {part} is not base64url: {} characters cannot be decoded; the token may be cut off",
            encoded.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        Base64UrlUnpadded::encode_string(text.as_bytes())
    }

    #[test]
    fn errors_have_a_position_and_no_token() {
        let (header, payload) = (encode(r#"{"alg":"RS256"}"#), encode(r#"{"aud":"x"}"#));
        let not_json = encode("{\"aud\":\n nonsense}");
        for (text, expected) in [
            (String::new(), "there is no token"),
            (" \n".to_owned(), "there is no token"),
            ("Bearer".to_owned(), "opaque"),
            ("EwAoA8l6BAAU".to_owned(), "opaque"),
            (format!("{header}.{payload}"), "2 parts"),
            (format!("{header}.a.b.c.d"), "encrypted"),
            (format!("{header}.{payload}.c2ln.more"), "4 parts"),
            (format!("Bearer {header}.{payload}.c2ln more"), "expected one token"),
            (format!("{header}. {payload}.c2ln"), "before the space"),
            (format!("e+J.{payload}.c2ln"), "the header is not base64url: character 2"),
            (format!("{header}.{payload}=.c2ln"), "the payload is not base64url: character 16"),
            (format!("{header}.{}.c2ln", &payload[..payload.len() - 2]), "the payload is not base64url: 13"),
            (format!("{header}.{payload}.c2l/"), "the signature is not base64url: character 4"),
            (
                format!("{header}.{not_json}.c2ln"),
                "the payload is not JSON: a syntax error at line 2, column",
            ),
            (format!("{header}.{}.c2ln", encode("{\"aud\"")), "the payload is not JSON: it ends too early"),
            (format!("{}.{payload}.c2ln", encode("[\"alg\"]")), "the header is JSON, but not an object"),
            (format!("{header}.{}.c2ln", encode(&"[".repeat(500))), "the payload is not JSON"),
        ] {
            let Err(error) = parse(&text) else { panic!("{text} was decoded") };
            assert!(error.contains(expected), "{text}: {error}");
            for part in [&header, &payload, &not_json] {
                assert!(!error.contains(part.as_str()) && !error.contains("nonsense"), "{error}");
            }
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn scheme_and_whole_header_are_accepted() {
        let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(r#"{"aud":"x"}"#));
        for (text, scheme) in [
            (token.clone(), None),
            (format!("  {token}\n"), None),
            (format!("Bearer {token}"), Some("Bearer")),
            (format!("mtls_pop  {token}"), Some("mtls_pop")),
            (format!("Authorization: mtls_pop {token}"), Some("mtls_pop")),
            (format!("authorization: {token}"), None),
        ] {
            let jwt = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((jwt.scheme.as_deref(), &jwt.payload["aud"]), (scheme, &"x".into()), "{text}");
        }
    }
}
