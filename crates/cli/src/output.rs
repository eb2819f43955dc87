//! How results look.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
use symbolon::parts::types::pki_types::CertificateDer;
use symbolon::{ClientIdentity, Token, TokenSource};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// As an HTTP header.
    Header,
}

/// A token as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    token_type: &'a str,
    access_token: &'a str,
    expires_on: u64,
    refresh_on: Option<u64>,
    source: &'a str,
    resource: &'a str,
    client_id: Option<&'a str>,
    tenant_id: Option<&'a str>,
    correlation_id: String,
    binding: Option<Binding>,
}

#[derive(Serialize)]
struct Binding {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
    certificate: String,
    not_after: u64,
    usable_until: u64,
    strength: &'static str,
}

impl Binding {
    fn of(identity: &ClientIdentity) -> Self {
        Self {
            thumbprint: identity.thumbprint().to_string(),
            certificate: identity.chain().iter().map(pem).collect(),
            not_after: unix(identity.not_after()),
            usable_until: unix(identity.usable_until()),
            strength: identity.strength().as_str(),
        }
    }
}

/// A token in the wanted form.
pub(crate) fn token(token: &Token, format: Format) -> String {
    match format {
        Format::Text => text(token),
        Format::Json => json(token),
        Format::Header => format!("Authorization: {} {}", token.token_type(), token.secret().expose()),
    }
}

fn json(token: &Token) -> String {
    let shown = Shown {
        token_type: token.token_type(),
        access_token: token.secret().expose(),
        expires_on: unix(token.expires_on()),
        refresh_on: Some(unix(token.refresh_on())),
        source: source(token),
        resource: token.audience(),
        client_id: token.client_id(),
        tenant_id: token.tenant_id(),
        correlation_id: token.correlation_id().to_string(),
        binding: token.bound_to().map(Binding::of),
    };
    line(&shown)
}

/// One line of JSON, its members in the order of their declaration.
pub(crate) fn line(shown: &impl Serialize) -> String {
    // Strings, numbers and options of them can always be written.
    serde_json::to_string(shown).unwrap_or_default()
}

/// Everything but the token, which is for programs.
fn text(token: &Token) -> String {
    let mut rows = vec![
        ("token type", token.token_type().to_owned()),
        ("resource", token.audience().to_owned()),
        ("client id", token.client_id().unwrap_or("not told").to_owned()),
        ("tenant id", token.tenant_id().unwrap_or("not told").to_owned()),
        ("source", source(token).to_owned()),
        ("expires on", date(token.expires_on())),
        ("renewed from", date(token.refresh_on())),
        ("correlation id", token.correlation_id().to_string()),
    ];
    match token.bound_to() {
        None => rows.push(("bound to", "nothing: whoever has it may use it".to_owned())),
        Some(identity) => rows.extend([
            ("bound to", format!("x5t#S256 {}", identity.thumbprint())),
            ("key", identity.strength().to_string()),
            ("certificate until", date(identity.not_after())),
            ("gets tokens until", date(identity.usable_until())),
        ]),
    }
    rows.push(("access token", "printed by --output json and --output header".to_owned()));
    table(&rows)
}

/// Variables, for a shell to take or as one object.
pub(crate) fn variables(
    variables: impl IntoIterator<Item = (&'static str, String)>,
    format: Format,
) -> String {
    let variables = variables.into_iter();
    if format == Format::Json {
        let members = variables.map(|(name, value)| (name.to_owned(), Value::String(value)));
        return line(&Map::from_iter(members));
    }
    variables.map(|(name, value)| format!("export {name}='{value}'")).collect::<Vec<_>>().join("\n")
}

/// Two aligned columns.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect();
    lines.join("\n")
}

fn source(token: &Token) -> &'static str {
    match token.source() {
        TokenSource::Cache => "cache",
        _ => "network",
    }
}

fn unix(moment: SystemTime) -> u64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn date(moment: SystemTime) -> String {
    httpdate::fmt_http_date(moment)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    // Encoding fails only for an impossible length.
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, certificate).unwrap_or_default()
}
