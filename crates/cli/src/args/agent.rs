//! Options of `serve` and `exec`.

use std::ffi::OsString;

use clap::Args;
use symbolon::ManagedIdentityId;

use super::key::KeyOptions;
use super::server::ServerOptions;
use super::values;

const SERVE_EXAMPLES: &str = "\
Examples:
  symbolon serve --allow https://vault.azure.net
  symbolon serve --allow https://vault.azure.net --env-file agent.env
  symbolon serve --allow https://vault.azure.net --listen 127.0.0.1:27342 \\
      --status 127.0.0.1:9464 --open-metrics

The printed variables point any Azure SDK at it. For one command alone, use
`symbolon exec`.";
const EXEC_EXAMPLES: &str = "\
Examples:
  symbolon exec --allow https://vault.azure.net -- python3 app.py
  symbolon exec -- sh -c env";

#[derive(Debug, Args)]
pub(crate) struct AgentOptions {
    /// Resource that clients may request; may be repeated; default: all resources
    #[arg(long, value_name = "RESOURCE", value_parser = values::resource)]
    pub(crate) allow: Vec<String>,
    /// Identity that clients may request: system, client-id:ID, object-id:ID or resource-id:ID; may
    /// be repeated; the first is the default [default: system]
    #[arg(long = "identity", value_name = "IDENTITY", value_parser = values::identity)]
    pub(crate) identities: Vec<ManagedIdentityId>,
    /// Request the bearer tokens over mTLS, with the managed identity's certificate
    #[arg(long)]
    pub(crate) over_mtls: bool,
    #[command(flatten, next_help_heading = "Key for --over-mtls")]
    pub(crate) keys: KeyOptions,
}

#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
}

#[derive(Debug, Args)]
#[command(after_help = EXEC_EXAMPLES)]
pub(crate) struct ExecOptions {
    /// Command and its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
    // Last, because of its heading.
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
}
