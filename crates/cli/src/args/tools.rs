//! Options of the commands that request no token.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::Shell;
use symbolon::Source;
use url::Url;

use super::values;

#[derive(Debug, Args)]
pub(crate) struct EmulateOptions {
    /// Host to emulate; determines the printed variables
    #[arg(long, value_parser = source_parser(), value_name = "NAME", default_value = Source::Imds.as_str())]
    pub(crate) source: Source,
    /// Loopback address of the host's identity endpoint; port 0 selects a free port
    #[arg(long, value_name = "ADDR", value_parser = values::address, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Listen on Azure's own address, 169.254.169.254, which must exist in the network namespace
    #[arg(long, conflicts_with_all = ["listen", "source"])]
    pub(crate) azure_addresses: bool,
    /// TOML file with faults to inject and properties of the machine
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Refuse tenants, clients and resources that were not declared, by an option or in the file of
    /// --faults, as Entra refuses those that it does not know
    #[arg(long)]
    pub(crate) strict: bool,
    /// Tenant besides the machine's that --strict accepts
    #[arg(long = "tenant", value_name = "TENANT", requires = "strict")]
    pub(crate) tenants: Vec<String>,
    /// Client besides the machine's identities that --strict accepts
    #[arg(long = "client", value_name = "CLIENT_ID", requires = "strict")]
    pub(crate) clients: Vec<String>,
    /// Resource that --strict accepts, for example https://vault.azure.net
    #[arg(long = "resource", value_name = "URI", requires = "strict")]
    pub(crate) resources: Vec<String>,
    /// File to append a line of JSON to for every request
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Loopback address of the admin page and API; port 0 selects a free port
    #[arg(long, value_name = "ADDR", value_parser = values::address, default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,
    /// Print only the environment variables, as shell commands
    #[arg(long)]
    pub(crate) print_env: bool,
}

/// Returns a parser of source names, as in the output of `doctor`.
fn source_parser() -> impl TypedValueParser<Value = Source> {
    PossibleValuesParser::new(Source::ALL.map(Source::as_str))
        .map(|name| Source::ALL.into_iter().find(|source| source.as_str() == name).unwrap_or(Source::Imds))
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Exit with code 3 if this machine has no managed identity
    #[arg(long)]
    pub(crate) check: bool,
    /// With --check: exit with code 3 if this machine does not support bound tokens either
    #[arg(long, requires = "check")]
    pub(crate) pop: bool,
    /// Report if this resource requests a client certificate, and when; sends neither token nor
    /// certificate
    #[arg(long, value_name = "URL", value_parser = values::https_url)]
    pub(crate) resource: Option<Url>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// Error code, for example managed_identity_unreachable or AADSTS700016
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
}

#[derive(Args)]
pub(crate) struct InspectOptions {
    /// Token, with or without its scheme (`Bearer eyJ…`), or the JSON of `token --output json`; -
    /// reads it from stdin, where other processes cannot see it
    // Surplus arguments are accepted, so that no message about them shows a part of a token.
    #[arg(value_name = "TOKEN", default_value = "-", num_args = 0..)]
    pub(crate) token: Vec<String>,
}

// Omits the token.
symbolon::parts::types::debug_fields!(InspectOptions);

#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// Shell to print the script for
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Folder to write to, for example /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
