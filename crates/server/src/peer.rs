//! The clients of a server.

use std::fmt;
use std::net::SocketAddr;

/// The client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A process on this machine, at this address.
    Address(SocketAddr),
    /// A process at the other end of a Unix socket.
    #[non_exhaustive]
    Process {
        /// Its user id.
        uid: u32,
        /// Its process id, where the system reports it.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Process { uid, pid: Some(pid) } => write!(f, "process {pid} of user {uid}"),
            Self::Process { uid, pid: None } => write!(f, "a process of user {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_shown_with_its_user() {
        for (pid, shown) in [(Some(7), "process 7 of user 1000"), (None, "a process of user 1000")] {
            assert_eq!(Peer::Process { uid: 1000, pid }.to_string(), shown);
        }
    }
}
