//! Why an emulator did not start, or could not certify.

use std::io;
use std::net::SocketAddr;

/// Why an emulator did not start, or could not certify a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address outside of the machine was asked for. The emulator gives tokens to anyone who
    /// asks, so it never listens there.
    #[error(
        "the emulator listens on loopback only, and at the address of Azure where asked to, but not on {0}"
    )]
    NotLoopback(SocketAddr),
    /// The port could not be opened.
    #[error("could not listen on {address}: {}", remedy(source))]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file with faults, or a fault, is wrong.
    #[error("line {line}, column {column}: {message}")]
    Faults {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key, a certificate or a TLS configuration could not be made.
    #[error("could not make the emulator's keys and certificates")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread that serves could not be started, or ended at once.
    #[error("could not start the emulator's thread")]
    Thread(#[source] io::Error),
}

/// What to do about a port that could not be opened.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "give this machine, or a network namespace of it, that address",
        io::ErrorKind::PermissionDenied => "ports below 1024 take privileges",
        _ => "choose a free port, or port 0",
    }
}

impl Error {
    pub(crate) fn certificate(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Certificate(Box::new(source))
    }
}
