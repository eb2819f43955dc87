//! The claims of a token as text: named, with times as dates and the confirmation (`cnf`).

use serde_json::{Map, Value};
use symbolon::parts::types::printable;

use super::jwt::DecodedJwt;
use crate::output::row;
use crate::timestamp::Timestamp;

/// Names of header parameters (RFC 7515 §4.1).
const HEADER: &[(&str, &str)] =
    &[("alg", "algorithm"), ("kid", "key id"), ("typ", "type"), ("x5t", "key's certificate")];
/// Names of claims with a time (RFC 7519 §4.1, OpenID Connect Core 1.0 §2).
const TIMES: &[(&str, &str)] =
    &[("iat", "issued"), ("nbf", "valid from"), ("exp", "expires"), ("auth_time", "signed in")];
/// Names of claims in Microsoft Entra's access tokens (its "Access token claims reference"), the
/// most important first.
const CLAIMS: &[(&str, &str)] = &[
    ("aud", "audience"),
    ("iss", "issuer"),
    ("tid", "tenant id"),
    ("appid", "client id"),
    ("azp", "client id"),
    ("appidacr", "client authentication"),
    ("azpacr", "client authentication"),
    ("oid", "object id"),
    ("sub", "subject"),
    ("idtyp", "identity type"),
    ("xms_mirid", "managed identity"),
    ("roles", "roles"),
    ("scp", "scopes"),
    ("xms_cc", "client capabilities"),
    ("ver", "version"),
];
/// Names of confirmation methods (RFC 7800 §3, RFC 8705 §3.1, RFC 9449 §6.1).
const CONFIRMATION: &[(&str, &str)] =
    &[("x5t#S256", "certificate SHA-256"), ("jkt", "key thumbprint"), ("jwk", "key"), ("kid", "key id")];

/// The maximum length of a name beside its value.
const LONGEST_NAME: usize = 32;

/// Returns the claims with a time.
pub(super) fn times(payload: &Map<String, Value>) -> impl Iterator<Item = (&str, Timestamp)> {
    let named =
        |(name, _): &(&'static str, &str)| Some((*name, Timestamp::from_numeric_date(payload.get(*name)?)?));
    TIMES.iter().filter_map(named)
}

/// Returns the text for people.
pub(super) fn text(jwt: &DecodedJwt, now: Timestamp) -> String {
    let mut claims = jwt.payload.clone();
    let times = take_times(&mut claims, now);
    let confirmation = claims.remove("cnf");
    let mut sections = vec![("header", rows(jwt.header.clone(), HEADER))];
    if let Some(scheme) = &jwt.scheme {
        sections[0].1.insert(0, ("scheme".to_owned(), scheme.clone()));
    }
    sections.push(("claims", rows(claims, CLAIMS)));
    sections.push(("times", times));
    sections.push(("bound to", bound_to(confirmation)));
    let widths = sections.iter().flat_map(|(_, rows)| rows).map(|(name, _)| name.chars().count());
    let width = 2 + widths.filter(|width| *width <= LONGEST_NAME).max().unwrap_or_default() + 2;
    let mut text = "Nothing is verified: neither signature nor issuer, audience or times.\n".to_owned();
    for (title, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        text.push_str(&format!("\n{title}\n"));
        for (name, value) in rows {
            text.push_str(&row(&format!("  {name}"), width, value));
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}

/// Removes the claims with a valid time and returns them as rows.
fn take_times(claims: &mut Map<String, Value>, now: Timestamp) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, called) in TIMES {
        let Some(time) = claims.get(*name).and_then(Timestamp::from_numeric_date) else { continue };
        claims.remove(*name);
        rows.push((format!("{called} ({name})"), format!("{time}, {}", time.distance_from(now))));
    }
    rows
}

fn bound_to(confirmation: Option<Value>) -> Vec<(String, String)> {
    match confirmation {
        None => vec![("nothing".to_owned(), "anyone who has the token can use it".to_owned())],
        Some(Value::Object(members)) => rows(members, CONFIRMATION),
        Some(other) => vec![("cnf".to_owned(), display(&other))],
    }
}

/// Returns the known members in the order of `known`, then the others by name, with invisible
/// characters escaped.
fn rows(mut members: Map<String, Value>, known: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, called) in known {
        if let Some(value) = members.remove(*name) {
            let name = if name == called { (*called).to_owned() } else { format!("{called} ({name})") };
            rows.push((name, display(&value)));
        }
    }
    rows.extend(members.iter().map(|(name, value)| (printable(name).to_string(), display(value))));
    rows
}

/// Returns strings without quotes, lists of strings with commas, everything else as JSON.
fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            items.iter().map(display).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("an object") };
        members
    }

    #[test]
    fn text_is_aligned_in_80_columns() {
        let jwt = DecodedJwt {
            scheme: Some("mtls_pop".to_owned()),
            header: object(json!({ "alg": "RS256", "kid": "k1", "typ": "JWT" })),
            payload: object(json!({
                "aud": "https://vault.azure.net",
                "exp": 1_700_003_600,
                "iat": "soon",
                "roles": ["Reader", "Data.Reader.All", "Data.Writer.All", "Secrets.Reader.All", "x.y"],
                "xms_odd": { "a": [1, null] },
                "evil\u{1b}[2J": "\u{1b}]0;title\u{7}\u{202e}txt",
                "cnf": { "x5t#S256": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "other": 1 },
            })),
        };
        let now = Timestamp::from_numeric_date(&json!(1_700_000_000)).unwrap();
        let expected = "\
Nothing is verified: neither signature nor issuer, audience or times.

header
  scheme                          mtls_pop
  algorithm (alg)                 RS256
  key id (kid)                    k1
  type (typ)                      JWT

claims
  audience (aud)                  https://vault.azure.net
  roles                           Reader, Data.Reader.All, Data.Writer.All,
                                  Secrets.Reader.All, x.y
  evil\\u{1b}[2J                   \\u{1b}]0;title\\u{7}\\u{202e}txt
  iat                             soon
  xms_odd                         {\"a\":[1,null]}

times
  expires (exp)                   2023-11-14T23:13:20Z, in 1 h

bound to
  certificate SHA-256 (x5t#S256)  47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU
  other                           1";
        assert_eq!(text(&jwt, now), expected);
    }

    /// A name of 61 kB was padded in front of every other value.
    #[test]
    fn long_name_pads_no_other_line() {
        let mut payload: Map<String, Value> =
            (0..500).map(|number| (format!("c{number}"), json!("v"))).collect();
        payload.insert("n".repeat(61_000), json!("one two"));
        let jwt = DecodedJwt { scheme: None, header: Map::new(), payload };
        let text = text(&jwt, Timestamp::from_numeric_date(&json!(0)).unwrap());
        assert!(text.len() < 100_000, "{}", text.len());
        let (_, long) = text.split_once(&"n".repeat(61_000)).unwrap();
        assert!(long.starts_with(&format!("\n{:11}one two\n", "")), "{}", &long[..40]);
    }

    #[test]
    fn token_without_cnf_is_bound_to_nothing() {
        let jwt = DecodedJwt { scheme: None, header: Map::new(), payload: object(json!({ "nbf": 5 })) };
        let text = text(&jwt, Timestamp::from_numeric_date(&json!(0)).unwrap());
        assert!(text.contains("\nbound to\n  nothing"), "{text}");
        assert!(text.contains("valid from (nbf)  1970-01-01T00:00:05Z, in 5 s"), "{text}");
    }
}
