//! The open connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use symbolon_types::Thumbprint;
use tokio::sync::{Notify, watch};

use crate::pki::TlsSession;

/// An accepted connection.
pub(crate) struct TrackedConnection {
    pub(crate) number: u64,
    pub(crate) tls: Option<TlsSession>,
    /// Notified when the connection must be reset.
    pub(crate) reset: Notify,
    /// Notified with the last processed stream when an HTTP/2 connection must be closed.
    pub(crate) go_away: watch::Sender<Option<u32>>,
    requests: AtomicU64,
}

impl TrackedConnection {
    /// Returns the thumbprint of the client certificate.
    pub(crate) fn certificate(&self) -> Option<Thumbprint> {
        self.tls.and_then(|tls| tls.certificate)
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.tls.is_some_and(|tls| tls.http2)
    }

    /// Counts a request, and returns the last stream before it if clients number their streams
    /// without a gap (RFC 9113 §5.1.1).
    pub(crate) fn count_request(&self) -> u32 {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        u32::try_from(2 * before).unwrap_or(u32::MAX >> 1).saturating_sub(1)
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
        let connection = Arc::new(TrackedConnection {
            number,
            tls,
            reset: Notify::new(),
            go_away: watch::Sender::new(None),
            requests: AtomicU64::new(0),
        });
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
