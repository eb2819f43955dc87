//! Presence of a metadata service that no variable names (docs/protocol/imdsv2.md#presence).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Record of whether a metadata service has responded. Clones share it.
///
/// A client with one probes before its first request, so that a machine without a metadata service
/// gets an error at once, not after the retries of a service that is being restarted.
#[derive(Clone, Debug, Default)]
pub struct ImdsPresence(Arc<AtomicBool>);

impl ImdsPresence {
    /// Creates the record of a service that has not responded yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    pub(super) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn record(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Server that answered the probe before the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbedServer {
    /// The metadata service, or the server that a variable names.
    Service,
    /// A server that does not have the name of the metadata service.
    Other {
        /// True for a server without a name that answered with a transient status, which may be a
        /// gateway of the host.
        is_transient: bool,
    },
}
