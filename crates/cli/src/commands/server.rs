//! The listeners of `serve` and `proxy`, and the variables that describe them.

use std::net::{Ipv4Addr, SocketAddr};

use symbolon::{Env, Error};
use symbolon_agent::Listener;

use crate::args::server::ServerOptions;
use crate::failure;
use crate::service_manager::take_sockets;

/// The listeners of a server.
pub(super) struct Listeners {
    pub(super) main: MainListener,
    pub(super) status: Option<Listener>,
}

/// The listener for clients.
pub(super) enum MainListener {
    Address(SocketAddr),
    #[cfg(unix)]
    Path(std::path::PathBuf),
    /// Of the service manager.
    Passed(Listener),
}

impl MainListener {
    pub(super) fn is_unix(&self) -> bool {
        match self {
            Self::Address(_) => false,
            #[cfg(unix)]
            Self::Path(_) => true,
            Self::Passed(listener) => listener.address().is_none(),
        }
    }
}

/// Returns the listeners of the options and of the service manager. `server` is the name of the
/// server in errors.
pub(super) async fn listeners(server: &str, options: &ServerOptions, env: &Env) -> Result<Listeners, Error> {
    let passed = take_sockets(server, env)?;
    let both = |option: &str| {
        let message = format!("systemd passed a socket, and {option} names another address");
        failure::request("invalid_usage", message).with_advice("remove the option or the unit of the socket")
    };
    #[cfg(unix)]
    let path = options.unix.clone();
    #[cfg(not(unix))]
    let path: Option<std::path::PathBuf> = None;
    let main = match (passed.main, options.listen, path) {
        (Some(listener), None, None) => MainListener::Passed(listener),
        (Some(_), Some(_), _) => return Err(both("--listen")),
        (Some(_), _, Some(_)) => return Err(both("--unix")),
        #[cfg(unix)]
        (None, _, Some(path)) => MainListener::Path(path),
        (None, address, _) => {
            MainListener::Address(address.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()))
        }
    };
    let status = match (passed.status, options.status) {
        (Some(_), Some(_)) => return Err(both("--status")),
        (Some(listener), None) => Some(listener),
        (None, Some(address)) => Some(Listener::tcp_for_all(server, address).await?),
        (None, None) => None,
    };
    Ok(Listeners { main, status })
}

/// Returns the variable with the URL of the listener for operators.
pub(super) fn status_variable(address: Option<SocketAddr>) -> Option<(&'static str, String)> {
    address.map(|address| ("SYMBOLON_STATUS_URL", format!("http://{address}")))
}
