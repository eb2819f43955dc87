//! Claims for people: what they are called, times as dates, what the token is bound to.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::jwt::Jwt;
use crate::moment::Moment;

/// What lines are kept to, where their words allow.
const WIDTH: usize = 80;
const INDENT: usize = 2;

/// Members of a header (RFC 7515 §4.1).
const HEADER: &[(&str, &str)] =
    &[("alg", "algorithm"), ("kid", "key id"), ("typ", "type"), ("x5t", "key's certificate")];
/// Claims that tell a moment (RFC 7519 §4.1, OpenID Connect Core §2).
const TIMES: &[(&str, &str)] =
    &[("iat", "issued"), ("nbf", "valid from"), ("exp", "expires"), ("auth_time", "signed in")];
/// Claims of Microsoft Entra's access tokens (its "Access token claims reference"), in the order in which one looks
/// at them.
const CLAIMS: &[(&str, &str)] = &[
    ("aud", "audience"),
    ("iss", "issuer"),
    ("tid", "tenant id"),
    ("appid", "client id"),
    ("azp", "client id"),
    ("appidacr", "client proved by"),
    ("azpacr", "client proved by"),
    ("oid", "object id"),
    ("sub", "subject"),
    ("idtyp", "identity type"),
    ("xms_mirid", "managed identity"),
    ("roles", "roles"),
    ("scp", "scopes"),
    ("xms_cc", "client capabilities"),
    ("ver", "version"),
];
/// Members of `cnf` (RFC 7800 §3, RFC 8705 §3.1, RFC 9449 §6.1).
const CONFIRMATION: &[(&str, &str)] =
    &[("x5t#S256", "certificate SHA-256"), ("jkt", "key thumbprint"), ("jwk", "key"), ("kid", "key id")];

/// The claims that name a moment.
pub(super) fn times(payload: &Map<String, Value>) -> impl Iterator<Item = (&str, Moment)> {
    let named = |(name, _): &(&'static str, &str)| Some((*name, Moment::of(payload.get(*name)?)?));
    TIMES.iter().filter_map(named)
}

pub(super) fn text(jwt: &Jwt, now: SystemTime) -> String {
    let mut claims = jwt.payload.clone();
    let times = times_of(&mut claims, now);
    let confirmation = claims.remove("cnf");
    let mut sections = vec![("header", rows(jwt.header.clone(), HEADER))];
    if let Some(scheme) = &jwt.scheme {
        sections[0].1.insert(0, ("scheme".to_owned(), printable(scheme)));
    }
    sections.push(("claims", rows(claims, CLAIMS)));
    sections.push(("times", times));
    sections.push(("bound to", bound_to(confirmation)));
    let width = sections.iter().flat_map(|(_, rows)| rows).map(|(name, _)| name.chars().count());
    let width = width.max().unwrap_or_default();
    let mut text = "Nothing is verified: neither signature nor issuer, audience or times.\n".to_owned();
    for (title, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        text.push_str(&format!("\n{title}\n"));
        for (name, value) in rows {
            text.push_str(&row(name, value, width));
        }
    }
    text.trim_end().to_owned()
}

/// Moves the times out of the claims, except what is no date.
fn times_of(claims: &mut Map<String, Value>, now: SystemTime) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, called) in TIMES {
        let Some(moment) = claims.get(*name).and_then(Moment::of) else { continue };
        claims.remove(*name);
        rows.push((format!("{called} ({name})"), format!("{moment}, {}", moment.distance_from(now))));
    }
    rows
}

fn bound_to(confirmation: Option<Value>) -> Vec<(String, String)> {
    match confirmation {
        None => vec![("nothing".to_owned(), "whoever has it may use it".to_owned())],
        Some(Value::Object(members)) => rows(members, CONFIRMATION),
        Some(other) => vec![("cnf".to_owned(), shown(&other))],
    }
}

/// Those that are known first, in their order; then the others by name.
fn rows(mut members: Map<String, Value>, known: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, called) in known {
        if let Some(value) = members.remove(*name) {
            let name = if name == called { (*called).to_owned() } else { format!("{called} ({name})") };
            rows.push((name, shown(&value)));
        }
    }
    rows.extend(members.iter().map(|(name, value)| (printable(name), shown(value))));
    rows
}

/// Texts bare, lists of texts with commas, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        other => printable(&other.to_string()),
    }
}

/// A token may come from anybody: nothing in it moves the cursor or turns the writing direction.
fn printable(text: &str) -> String {
    let directs = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || directs(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A name and its value, broken between words where it is too long for a line.
fn row(name: &str, value: &str, width: usize) -> String {
    let margin = INDENT + width + 2;
    let mut row = format!("{:INDENT$}{name:<width$}", "");
    let mut column = WIDTH;
    for word in value.split(' ') {
        let length = word.chars().count() + 1;
        if column == WIDTH {
            row.push_str("  ");
            column = margin - 1;
        } else if column + length > WIDTH {
            row.push_str(&format!("\n{:margin$}", ""));
            column = margin - 1;
        } else {
            row.push(' ');
        }
        row.push_str(word);
        column += length;
    }
    row.push('\n');
    row
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("an object") };
        members
    }

    #[test]
    fn the_whole_is_aligned_and_keeps_to_80_columns() {
        let jwt = Jwt {
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
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
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

    #[test]
    fn a_token_without_cnf_is_said_to_be_anybodys() {
        let jwt = Jwt { scheme: None, header: Map::new(), payload: object(json!({ "nbf": 5 })) };
        let text = text(&jwt, SystemTime::UNIX_EPOCH);
        assert!(text.contains("\nbound to\n  nothing"), "{text}");
        assert!(text.contains("valid from (nbf)  1970-01-01T00:00:05Z, in 5 s"), "{text}");
    }
}
