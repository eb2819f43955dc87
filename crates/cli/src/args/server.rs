//! Options of the servers.

use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Loopback address to listen on; port 0 selects a free port [default: the socket that systemd
    /// passes, or 127.0.0.1:0]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen on a Unix socket that only this user can open, in place of an address
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    pub(crate) unix: Option<PathBuf>,
    /// Serve /livez, /readyz and /metrics at this address as well
    #[arg(long, value_name = "ADDR")]
    pub(crate) status: Option<SocketAddr>,
    /// Serve /metrics without the secret
    #[arg(long)]
    pub(crate) open_metrics: bool,
}
