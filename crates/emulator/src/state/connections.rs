//! The open connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use symbolon_types::Thumbprint;
use tokio::sync::Notify;

use crate::pki::TlsSession;

/// An accepted connection.
pub(crate) struct TrackedConnection {
    pub(crate) number: u64,
    pub(crate) tls: Option<TlsSession>,
    /// Notified when the connection must be reset.
    pub(crate) reset: Notify,
}

impl TrackedConnection {
    /// Returns the thumbprint of the client certificate.
    pub(crate) fn certificate(&self) -> Option<Thumbprint> {
        self.tls.and_then(|tls| tls.certificate)
    }
}

/// The open connections, and the numbers of all of them.
#[derive(Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Weak<TrackedConnection>>>,
}

impl Connections {
    /// Returns the number of the connection that was just accepted.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tracks a connection until its `Arc` is dropped.
    pub(crate) fn open(&self, number: u64, tls: Option<TlsSession>) -> Arc<TrackedConnection> {
        let connection = Arc::new(TrackedConnection { number, tls, reset: Notify::new() });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, connection| connection.strong_count() > 0);
        open.insert(number, Arc::downgrade(&connection));
        connection
    }

    /// Resets every open connection with this client certificate, and returns their number.
    pub(crate) fn reset(&self, certificate: Thumbprint) -> usize {
        self.reset_where(|connection| connection.certificate() == Some(certificate))
    }

    /// Resets every open connection.
    pub(crate) fn reset_all(&self) {
        self.reset_where(|_| true);
    }

    fn reset_where(&self, matches: impl Fn(&TrackedConnection) -> bool) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = open.values().filter_map(Weak::upgrade).filter(|connection| matches(connection));
        matching.inspect(|connection| connection.reset.notify_one()).count()
    }
}
