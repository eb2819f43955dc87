//! The formats of results.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
#[cfg(unix)]
use symbolon::parts::binding::BindingRecord;
use symbolon::parts::types::pki_types::CertificateDer;
use symbolon::parts::types::{printable, printable_json};
use symbolon::{ClientIdentity, Token, TokenOrigin};

use crate::timestamp::Timestamp;

/// Width of text for people.
const TEXT_WIDTH: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
    Header,
    Raw,
}

#[derive(Serialize)]
struct TokenJson<'a> {
    token_type: &'a str,
    access_token: &'a str,
    expires_on: u64,
    refresh_on: Option<u64>,
    source: &'a str,
    resource: &'a str,
    client_id: Option<&'a str>,
    tenant_id: Option<&'a str>,
    correlation_id: String,
    binding: Option<BindingJson>,
}

#[derive(Serialize)]
struct BindingJson {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
    certificate: String,
    not_after: u64,
    usable_until: u64,
    strength: &'static str,
}

impl BindingJson {
    fn new(identity: &ClientIdentity) -> Self {
        Self {
            thumbprint: identity.thumbprint().to_string(),
            certificate: pem_chain(identity.chain()),
            not_after: unix(identity.not_after()),
            usable_until: unix(identity.usable_until()),
            strength: identity.strength().as_str(),
        }
    }
}

/// Returns a token in the given format.
pub(crate) fn token(token: &Token, format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => token_text(token),
        OutputFormat::Json => token_json(token),
        OutputFormat::Header => {
            format!("Authorization: {} {}", token.token_type(), token.secret().expose())
        }
        OutputFormat::Raw => token.secret().expose().to_owned(),
    }
}

fn token_json(token: &Token) -> String {
    line(&TokenJson {
        token_type: token.token_type(),
        access_token: token.secret().expose(),
        expires_on: unix(token.expires_on()),
        refresh_on: Some(unix(token.refresh_on())),
        source: origin(token),
        resource: token.audience(),
        client_id: token.client_id(),
        tenant_id: token.tenant_id(),
        correlation_id: token.correlation_id().to_string(),
        binding: token.bound_to().map(BindingJson::new),
    })
}

/// Returns all properties of a token, but not the token itself.
fn token_text(token: &Token) -> String {
    let date = |time: SystemTime| Timestamp::from(time).to_string();
    let mut rows = vec![
        ("token type", token.token_type().to_owned()),
        ("resource", token.audience().to_owned()),
        ("client id", token.client_id().unwrap_or("unknown").to_owned()),
        ("tenant id", token.tenant_id().unwrap_or("unknown").to_owned()),
        ("origin", origin(token).to_owned()),
        ("expires", date(token.expires_on())),
        ("refresh due", date(token.refresh_on())),
        ("correlation id", token.correlation_id().to_string()),
    ];
    match token.bound_to() {
        None => rows.push(("bound to", "nothing: anyone who has the token can use it".to_owned())),
        Some(identity) => rows.extend([
            ("bound to", format!("x5t#S256 {}", identity.thumbprint())),
            ("key strength", identity.strength().to_string()),
            ("certificate until", date(identity.not_after())),
            ("certificate usable until", date(identity.usable_until())),
        ]),
    }
    rows.push(("access token", "not shown; use --output json, raw or header".to_owned()));
    table(&rows)
}

#[cfg(unix)]
#[derive(Serialize)]
struct RecordJson<'a> {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
    subject: &'a str,
    not_before: u64,
    not_after: u64,
    usable_until: u64,
    client_id: &'a str,
    tenant_id: &'a str,
    key: KeyJson<'a>,
    certificate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

#[cfg(unix)]
#[derive(Serialize)]
struct KeyJson<'a> {
    #[serde(rename = "type")]
    key_type: &'a str,
    location: Option<&'a str>,
}

/// Returns a certificate with the kind and place of its key. `is_changed` tells if its files were
/// written.
#[cfg(unix)]
pub(crate) fn binding(record: &BindingRecord, is_changed: Option<bool>, format: OutputFormat) -> String {
    if format == OutputFormat::Json {
        return line(&RecordJson {
            thumbprint: record.thumbprint().to_string(),
            subject: record.subject(),
            not_before: unix(record.not_before()),
            not_after: unix(record.not_after()),
            usable_until: unix(record.usable_until()),
            client_id: record.client_id(),
            tenant_id: record.tenant_id(),
            key: KeyJson { key_type: record.key_type(), location: record.key_location() },
            certificate: pem_chain(record.chain()),
            changed: is_changed,
        });
    }
    let date = |time: SystemTime| Timestamp::from(time).to_string();
    let location = record.key_location().unwrap_or("unknown; it was in memory, or in a device");
    let mut rows = vec![
        ("certificate", format!("x5t#S256 {}", record.thumbprint())),
        ("subject", record.subject().to_owned()),
        ("client id", record.client_id().to_owned()),
        ("tenant id", record.tenant_id().to_owned()),
        ("valid from", date(record.not_before())),
        ("valid until", date(record.not_after())),
        ("usable until", date(record.usable_until())),
        ("key type", record.key_type().to_owned()),
        ("key location", location.to_owned()),
    ];
    if let Some(is_changed) = is_changed {
        rows.push(("files", if is_changed { "written" } else { "unchanged" }.to_owned()));
    }
    table(&rows)
}

/// Returns a value as one line of JSON, with its members in the order of their declaration. Control
/// and other invisible characters are escaped.
pub(crate) fn line(value: &impl Serialize) -> String {
    // The serialized types have string keys only, so that this cannot fail.
    printable_json(&serde_json::to_string(value).unwrap_or_default())
}

/// Returns environment variables as one JSON object, or as commands for sh, bash, zsh and fish.
pub(crate) fn variables(
    variables: impl IntoIterator<Item = (&'static str, String)>,
    format: OutputFormat,
) -> String {
    let variables = variables.into_iter();
    if format == OutputFormat::Json {
        let members = variables.map(|(name, value)| (name.to_owned(), Value::String(value)));
        return line(&Map::from_iter(members));
    }
    variables.map(|(name, value)| format!("export {name}={}", quoted(&value))).collect::<Vec<_>>().join("\n")
}

/// Returns a value as one word of a shell command, in single quotes. Backslashes stand outside of
/// the quotes, because fish interprets them inside, unlike sh.
fn quoted(value: &str) -> String {
    let mut quoted = "'".to_owned();
    for character in value.chars() {
        match character {
            '\'' | '\\' => quoted.extend(["'\\", character.encode_utf8(&mut [0; 4]), "'"]),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

/// Returns two aligned columns. Invisible characters of the values are escaped.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("{name:<width$}  {}", printable(value))).collect();
    lines.join("\n")
}

/// Prints a line to stderr. A failure is ignored, because there is no other place to report it.
pub(crate) fn print_to_stderr(text: impl Display) {
    let _printed = writeln!(anstream::stderr().lock(), "{text}");
}

/// Returns a label padded to `width` and a text that is wrapped beside it. A longer label stands
/// above the text.
pub(crate) fn row(label: &str, width: usize, text: &str) -> String {
    let margin = format!("\n{:width$}", "");
    let lines = wrap(text, width).join(&margin);
    let begin =
        if label.chars().count() < width { format!("{label:<width$}") } else { format!("{label}{margin}") };
    format!("{begin}{lines}").trim_end().to_owned()
}

/// Prints a note to stderr: something that the user may have meant otherwise.
pub(crate) fn note(is_quiet: bool, text: impl Display) {
    if !is_quiet {
        print_to_stderr(format_args!("note: {text}"));
    }
}

/// Returns the lines of a text right of a margin, broken between words. A longer word has its own
/// line. Invisible characters are escaped.
pub(crate) fn wrap(text: &str, margin: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in printable(text).to_string().split_whitespace() {
        match lines.last_mut() {
            Some(line) if margin + line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn origin(token: &Token) -> &'static str {
    match token.origin() {
        TokenOrigin::Cache => "cache",
        _ => "network",
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Returns certificates in PEM, in their order.
pub(crate) fn pem_chain(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(pem).collect()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    // Encoding fails only if the length overflows.
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, certificate).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two  three", 73), ["one two", "three"]);
        assert_eq!(wrap("anextremelylongword x", 73), ["anextremelylongword", "x"]);
        assert!(wrap(" ", 73).is_empty());
        assert_eq!(row("name", 73, "one two three"), format!("{:<73}one two\n{:73}three", "name", ""));
        assert_eq!(row("a long name", 8, "one"), format!("a long name\n{:8}one", ""));
    }
}
