//! Options of `serve` and `exec`.

use std::ffi::OsString;
#[cfg(unix)]
use std::path::PathBuf;

use clap::Args;
use symbolon::ManagedIdentityId;

use super::key::KeyOptions;
use super::server::ServerOptions;
use super::values;

#[derive(Debug, Args)]
pub(crate) struct AgentOptions {
    /// Identity that clients may request: system, client-id:ID, object-id:ID or resource-id:ID; may
    /// be repeated; the first is the default [default: system]
    #[arg(long = "identity", value_name = "IDENTITY", value_parser = values::identity)]
    pub(crate) identities: Vec<ManagedIdentityId>,
    /// Resource that clients may request; may be repeated; default: all resources
    #[arg(long, value_name = "RESOURCE", value_parser = values::resource)]
    pub(crate) allow: Vec<String>,
    /// Request the bearer tokens over mTLS, with the managed identity's certificate
    #[arg(long)]
    pub(crate) over_mtls: bool,
    #[command(flatten)]
    pub(crate) keys: KeyOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) variables: VariablesOptions,
}

/// The place of the variables that clients need.
#[derive(Debug, Args)]
pub(crate) struct VariablesOptions {
    /// Write the variables to this file, not to stdout; the next run with the file has the same
    /// secret
    #[cfg(unix)]
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
    /// Command and its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}
