//! The clients that may use the proxy.

use http::request::Parts;
use symbolon_server::{Peer, has_secret, names_loopback};
use symbolon_types::Secret;

use crate::failure::ProxyFailure;
use crate::headers::SECRET_HEADER;

/// The rule by which requests are accepted.
#[derive(Debug)]
pub(crate) enum Access {
    /// On a loopback address: requests with the secret, that are addressed to this port.
    Secret { secret: Secret, port: u16 },
    /// On a Unix socket: requests of processes of these users.
    Users(Vec<u32>),
}

impl Access {
    /// Refuses a request that is addressed to another host.
    pub(crate) fn check_host(&self, head: &Parts) -> Result<(), ProxyFailure> {
        match self {
            Self::Secret { port, .. } if !names_loopback(head, *port) => Err(ProxyFailure::wrong_host()),
            _ => Ok(()),
        }
    }

    /// Refuses a request of a client that may not use the proxy.
    pub(crate) fn check_client(&self, peer: Peer, head: &Parts) -> Result<(), ProxyFailure> {
        match (self, peer) {
            (Self::Secret { secret, .. }, _) if has_secret(&head.headers, &SECRET_HEADER, secret) => Ok(()),
            (Self::Users(users), Peer::Process { uid, .. }) if users.contains(&uid) => Ok(()),
            (Self::Users(_), Peer::Process { uid, .. }) => Err(ProxyFailure::user_not_allowed(uid)),
            _ => Err(ProxyFailure::secret_required()),
        }
    }

    /// Returns true if every request of this client is accepted.
    pub(crate) fn trusts(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Users(users), Peer::Process { uid, .. }) => users.contains(&uid),
            _ => false,
        }
    }
}
