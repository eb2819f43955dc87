//! Errors of federated credentials: the assertion of another issuer.

use serde_json::Value;

use super::account::jwt_payload;

/// The maximum length of a claim in an error, in characters.
const LONGEST_CLAIM: usize = 256;

/// Returns true if the token service refused the assertion of another issuer
/// (docs/protocol/errors.md#federated-credentials).
pub(crate) fn concerns_federation(server_codes: &[u32]) -> bool {
    server_codes.iter().any(|code| {
        matches!(code, 50_027 | 70_021 | 700_023 | 700_024 | 700_027 | 700_200..=700_299 | 7_002_100..=7_002_399)
    })
}

/// Describes an assertion by the claims that a federated credential is compared with: issuer,
/// subject and audience. They identify the client and grant nothing. `None` if it is not a JWT.
pub(crate) fn described(assertion: &str) -> Option<String> {
    let claims = jwt_payload(assertion)?;
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(texts) => {
            let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        _ => None,
    };
    let claim = |name: &str| {
        let text = claims.get(name).and_then(text)?;
        Some(match text.char_indices().nth(LONGEST_CLAIM) {
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        })
    };
    let claim = |name| claim(name).unwrap_or_else(|| "none".to_owned());
    let (issuer, subject, audience) = (claim("iss"), claim("sub"), claim("aud"));
    Some(format!(
        "the assertion that was sent has issuer (iss) {issuer}, subject (sub) {subject}, audience (aud) {audience}"
    ))
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};

    use super::*;

    #[test]
    fn assertion_is_described_by_three_claims() {
        let jwt =
            |payload: &str| format!("e30.{}.c2ln", Base64UrlUnpadded::encode_string(payload.as_bytes()));
        let begin = "the assertion that was sent has";
        for (payload, expected) in [
            (
                r#"{"iss":"https://idp.example","sub":"repo:contoso/app:ref:refs/heads/main","aud":"api://x","jti":"j"}"#,
                "issuer (iss) `https://idp.example`, subject (sub) `repo:contoso/app:ref:refs/heads/main`, audience (aud) `api://x`",
            ),
            (r#"{"aud":["a","b"],"sub":7}"#, "issuer (iss) none, subject (sub) none, audience (aud) `a, b`"),
            (r#"{"aud":[]}"#, "issuer (iss) none, subject (sub) none, audience (aud) none"),
        ] {
            assert_eq!(described(&jwt(payload)), Some(format!("{begin} {expected}")), "{payload}");
        }
        assert_eq!(described("opaque"), None);
        let long = described(&jwt(&format!(r#"{{"sub":"{}"}}"#, "é".repeat(1000)))).unwrap();
        assert!(long.contains(&format!("`{}…`", "é".repeat(256))), "{long}");
    }

    #[test]
    fn codes_of_federated_credentials() {
        for code in [70_021, 700_211, 700_212, 700_213, 700_024, 700_222, 7_002_138] {
            assert!(concerns_federation(&[50_000, code]), "{code}");
        }
        assert!(!concerns_federation(&[7_000_215, 7_000_222, 700_016]));
    }
}
