//! The errors of the emulator.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use symbolon_types::printable;

/// The error returned when an emulator cannot start, or cannot issue a certificate or a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address can be reached from other machines. The emulator gives tokens to every caller,
    /// so it does not listen there.
    #[error(
        "refused to listen on {0}, which other machines can reach: use a loopback address, or Azure's own addresses"
    )]
    NotLoopback(SocketAddr),
    /// The port could not be opened.
    #[error("could not listen on {address}: {}", remedy(source))]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A fault, or a file with faults, is invalid.
    #[error("line {line}, column {column}: {}", printable(message))]
    Faults {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The error at this position.
        message: String,
    },
    /// A key, a certificate or a TLS configuration could not be created.
    #[error("could not create the emulator's keys and certificates")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file with the authority's certificate could not be written.
    #[error(
        "could not write the emulator's certificate to {}: set TMPDIR or `ca_folder` to a folder that this user can write to",
        printable(&path.display().to_string())
    )]
    File {
        /// The file, or the folder in which its folder could not be created.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The thread of the servers could not be started, or ended at once.
    #[error("could not start the emulator's thread")]
    Thread(#[source] io::Error),
}

/// Returns the advice for a port that could not be opened.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "assign the address to this machine, or to a network namespace",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges",
        _ => "choose a free port, or port 0",
    }
}

impl Error {
    pub(crate) fn certificate(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Certificate(Box::new(source))
    }
}
