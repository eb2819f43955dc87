//! The phase that a request is in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The phase of a request, which a deadline that ends it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestPhase {
    /// The request waits for a connection that other requests use or open.
    Queue,
    /// The name of the server, or of the proxy, is resolved.
    Resolution,
    /// The TCP connection is opened.
    Connection,
    /// The proxy opens a connection to the server.
    Tunnel,
    /// The TLS handshake is performed.
    Handshake,
    /// The request is sent, and the head of the response is awaited.
    Response,
    /// The body of the response is received.
    Body,
}

const PHASES: [RequestPhase; 7] = [
    RequestPhase::Queue,
    RequestPhase::Resolution,
    RequestPhase::Connection,
    RequestPhase::Tunnel,
    RequestPhase::Handshake,
    RequestPhase::Response,
    RequestPhase::Body,
];

/// Completes "waited for".
impl fmt::Display for RequestPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "a connection that other requests use or open",
            Self::Resolution => "the resolution of the name",
            Self::Connection => "the TCP connection",
            Self::Tunnel => "the proxy",
            Self::Handshake => "the TLS handshake",
            Self::Response => "the response",
            Self::Body => "the rest of the response",
        })
    }
}

/// A cell with the present phase of a request. Clones share it.
///
/// A transport sets it with [`enter`](Self::enter), and whoever ends the request reads it.
#[derive(Clone, Debug, Default)]
pub struct PhaseCell(Arc<AtomicU8>);

impl PhaseCell {
    /// Creates a cell without a phase.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a phase.
    pub fn enter(&self, phase: RequestPhase) {
        let number = PHASES.iter().position(|one| *one == phase).map_or(0, |index| index + 1);
        self.0.store(u8::try_from(number).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Returns the present phase; `None` before the first, or if the transport sets none.
    #[must_use]
    pub fn phase(&self) -> Option<RequestPhase> {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        PHASES.get(number.checked_sub(1)?).copied()
    }

    /// Removes the phase, before the request is sent again.
    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_phase() {
        let cell = PhaseCell::new();
        assert_eq!(cell.phase(), None);
        for phase in PHASES {
            cell.clone().enter(phase);
            assert_eq!(cell.phase(), Some(phase));
        }
        cell.clear();
        assert_eq!(cell.phase(), None);
    }
}
