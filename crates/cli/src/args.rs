//! What can be asked on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use symbolon::{Error, ManagedIdentityId, Source, Strength};

use crate::exec::ExecOptions;
use crate::failure;
use crate::inspect::InspectOptions;
use crate::json;
use crate::manual::{CompletionsOptions, ManOptions};
use crate::output::Format;
use crate::serve::ServeOptions;

/// Azure managed identity with tokens that are bound to a key.
///
/// Start with `symbolon demo`: it needs no Azure and no configuration.
#[derive(Debug, Parser)]
#[command(name = "symbolon", version, max_term_width = 80, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// How results are printed: `text` for people, `json` for programs; `header` prints a token
    /// as an HTTP header
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Also trust the certificates in this file (PEM); `SSL_CERT_FILE` does the same
    #[arg(long, global = true, value_name = "PEM")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Give up after this many seconds
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story on an emulator: mint, exchange, use, steal, revoke
    Demo,
    /// Get a managed identity token
    Token(TokenOptions),
    /// Get a token for an application of your own, with a secret, a certificate or an assertion
    AppToken(AppTokenOptions),
    /// Get a token and call a URL with it; a bound token goes with its certificate
    Call(CallOptions),
    /// Find out what this machine can do, and why not; asks for no token and makes no key
    Doctor,
    /// Run the emulator until interrupted
    Emulate(EmulateOptions),
    /// Show what a token says, and what it is bound to; verifies nothing
    Inspect(InspectOptions),
    /// Give tokens to other programs: a local agent, as App Service has one
    Serve(ServeOptions),
    /// Run a command that gets its tokens from such an agent
    Exec(ExecOptions),
    /// Print the completions of a shell
    Completions(CompletionsOptions),
    /// Write the man pages
    Man(ManOptions),
    /// The thief of `demo`: a process of its own, which has the stolen token and nothing else
    #[command(hide = true)]
    Replay,
}

#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    #[command(flatten)]
    pub(crate) acquire: Acquire,
    /// Do not read the token cache (there is one within `--count`)
    #[arg(long)]
    pub(crate) force_refresh: bool,
    /// Get the token this many times, one line each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
    /// Ask for so many at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,
}

/// What is there in place of a certificate. That one is required says nothing to clap where there is one of these.
const OTHER_CREDENTIALS: [&str; 2] = ["client_secret_env", "assertion_file"];

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("credential").required(true))]
pub(crate) struct AppTokenOptions {
    /// Whose tokens they are, for example https://login.microsoftonline.com/contoso.example
    #[arg(long, value_name = "URL")]
    pub(crate) authority: String,
    /// The client id of the application
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: String,
    /// The scopes, separated by spaces, for example https://vault.azure.net/.default
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: String,
    /// Authenticate with the secret in this environment variable
    #[arg(long, value_name = "VAR", group = "credential")]
    pub(crate) client_secret_env: Option<String>,
    /// Authenticate with the certificate and key in this file (PEM)
    #[arg(long, value_name = "PEM", group = "credential")]
    pub(crate) certificate: Option<PathBuf>,
    /// Authenticate with the assertion in this file, which is read for each exchange
    #[arg(long, value_name = "FILE", group = "credential")]
    pub(crate) assertion_file: Option<PathBuf>,
    /// Send the certificate chain with each assertion
    #[arg(long, requires = "certificate", conflicts_with_all = OTHER_CREDENTIALS)]
    pub(crate) send_x5c: bool,
    /// Present the certificate in the TLS handshake, for a bearer token
    #[arg(long, requires = "certificate", conflicts_with_all = OTHER_CREDENTIALS, conflicts_with = "pop")]
    pub(crate) over_mtls: bool,
    /// Bind the token to the certificate (mTLS proof of possession); never downgraded
    #[arg(long)]
    pub(crate) pop: bool,
    #[command(flatten)]
    pub(crate) claims: Claims,
    /// Ask in this region of Microsoft Entra
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Do not validate an authority that is not known
    #[arg(long)]
    pub(crate) no_instance_discovery: bool,
}

/// What is asked for besides.
#[derive(Debug, Args)]
pub(crate) struct Claims {
    /// The claims of a resource's challenge
    #[arg(long, value_name = "JSON")]
    pub(crate) claims: Option<String>,
    /// Claims that the client itself originates
    #[arg(long, value_name = "JSON")]
    pub(crate) client_claims: Option<String>,
    /// Something that the client can handle, such as cp1; may be repeated
    #[arg(long = "capability", value_name = "NAME")]
    pub(crate) capabilities: Vec<String>,
}

impl Claims {
    /// Says where claims are not what they have to be, before anything is made or sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (option, text) in [("--claims", &self.claims), ("--client-claims", &self.client_claims)] {
            let Some(text) = text else { continue };
            json::object(text.as_bytes())
                .map_err(|what| failure::request("invalid_claims", format!("{option} {what}")))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    /// Where to; https only
    #[arg(value_parser = url)]
    pub(crate) url: url::Url,
    #[command(flatten)]
    pub(crate) acquire: Acquire,
    /// The HTTP method; GET, or POST with a body
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) method: Option<http::Method>,
    /// A header to send
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The body to send
    #[arg(short = 'd', long, value_name = "BODY")]
    pub(crate) data: Option<String>,
    /// Print the status line and the headers before the body
    #[arg(long)]
    pub(crate) include: bool,
}

/// What a token is asked for with.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    /// The resource that the token is for, for example https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = resource)]
    pub(crate) resource: String,
    /// Bind the token to a key (mTLS proof of possession); never downgraded
    #[arg(long)]
    pub(crate) pop: bool,
    /// Get a bearer token with the certificate that bound tokens are got with
    #[arg(long, conflicts_with = "pop")]
    pub(crate) over_mtls: bool,
    /// Which identity: system, client-id:ID, object-id:ID or resource-id:ID
    #[arg(long, value_name = "IDENTITY", default_value = "system", value_parser = identity)]
    pub(crate) identity: ManagedIdentityId,
    #[command(flatten)]
    pub(crate) claims: Claims,
    #[command(flatten)]
    pub(crate) keys: Keys,
}

/// What certificates are asked for with.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Fail unless the key is kept at least this well
    #[arg(long, value_enum, default_value_t = Floor::None)]
    pub(crate) min_strength: Floor,
    /// The kind of key to bind to
    #[arg(long, value_enum, default_value_t = KeyKind::Rsa2048)]
    pub(crate) key: KeyKind,
    /// Keep key and certificate for the next run, in SYMBOLON_STATE_DIR or the user's state folder
    #[arg(long)]
    pub(crate) persist_binding: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EmulateOptions {
    /// The host to stand for: whose variables are printed
    #[arg(long, value_parser = source_parser(), value_name = "NAME", default_value_t = Source::Imds)]
    pub(crate) source: Source,
    /// The address of that host's identity endpoint; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Stand where Azure does: at 169.254.169.254, which a network namespace can have
    #[arg(long, conflicts_with_all = ["listen", "source"])]
    pub(crate) azure_addresses: bool,
    /// What goes wrong, and what kind of machine it is (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Append every request to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// The address of the page and of the admin API; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,
    /// Print nothing but the variables, as a shell takes them
    #[arg(long)]
    pub(crate) print_env: bool,
}

/// Parses a source by the name that `doctor` and the library have for it.
fn source_parser() -> impl TypedValueParser<Value = Source> {
    PossibleValuesParser::new(Source::ALL.map(Source::as_str))
        .map(|name| Source::ALL.into_iter().find(|source| source.as_str() == name).unwrap_or(Source::Imds))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Floor {
    None,
    Software,
    Hardware,
    Keyguard,
}

impl Floor {
    pub(crate) fn strength(self) -> Option<Strength> {
        match self {
            Self::None => None,
            Self::Software => Some(Strength::Software),
            Self::Hardware => Some(Strength::Hardware),
            Self::Keyguard => Some(Strength::KeyGuard),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "p-256")]
    P256,
}

pub(crate) fn identity(text: &str) -> Result<ManagedIdentityId, String> {
    if text.contains(is_space) {
        return Err("no id has a space in it".to_owned());
    }
    let parsed = match text.split_once(':') {
        None if text == "system" => return Ok(ManagedIdentityId::system_assigned()),
        Some(("client-id", id)) => ManagedIdentityId::client_id(id),
        Some(("object-id", id)) => ManagedIdentityId::object_id(id),
        Some(("resource-id", id)) => ManagedIdentityId::resource_id(id),
        _ => return Err("use system, client-id:ID, object-id:ID or resource-id:ID".to_owned()),
    };
    parsed.map_err(|error| error.to_string())
}

/// A URI, or what Microsoft Entra takes as well: the id of an application.
pub(crate) fn resource(text: &str) -> Result<String, &'static str> {
    let is_uri = !text.contains(':') || text.parse::<url::Url>().is_ok();
    if text.is_empty() || text.contains(is_space) || !is_uri {
        return Err("not a URI; use the form https://vault.azure.net");
    }
    Ok(text.to_owned())
}

fn is_space(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err("a timeout is a positive number of seconds".to_owned()),
    }
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header has the form 'Name: value'")?;
    let name: http::HeaderName = name.trim().parse().map_err(|_| "that is not a header name")?;
    if name == http::header::AUTHORIZATION {
        return Err("the Authorization header is what this command adds".to_owned());
    }
    let value = value.trim().parse().map_err(|_| "that is not a header value")?;
    Ok((name, value))
}

fn url(text: &str) -> Result<url::Url, &'static str> {
    text.parse().map_err(|_| "not a URL; use the form https://host/path")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
