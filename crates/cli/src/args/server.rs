//! Options of the servers.

use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

use clap::Args;

use super::values;

/// The heading of options that concern clients.
pub(crate) const CLIENTS: &str = "Clients";
/// The heading of options for operators.
const OPERATION: &str = "Health checks and metrics";

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Loopback address to listen on; port 0 selects a free port [default: the socket that systemd
    /// passes, or 127.0.0.1:0]
    #[arg(long, value_name = "ADDR", value_parser = values::address, help_heading = CLIENTS)]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen on a Unix socket that only this user can open, in place of an address
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", help_heading = CLIENTS, conflicts_with = "listen")]
    pub(crate) unix: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) variables: VariablesOptions,
    /// Serve /livez, /readyz and /metrics at this address as well
    #[arg(long, value_name = "ADDR", value_parser = values::address, help_heading = OPERATION)]
    pub(crate) status: Option<SocketAddr>,
    /// Serve /metrics without the secret
    #[arg(long, help_heading = OPERATION)]
    pub(crate) open_metrics: bool,
}

/// The place of the variables that clients need.
#[derive(Debug, Args)]
pub(crate) struct VariablesOptions {
    /// Write the variables to this file, not to stdout; the next run with the file has the same
    /// secret
    #[cfg(unix)]
    #[arg(long, value_name = "FILE", help_heading = CLIENTS)]
    pub(crate) env_file: Option<PathBuf>,
}
