//! Connections: their facts, and how to cut them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use symbolon_types::Thumbprint;
use tokio::sync::Notify;

use crate::entry::TlsFacts;

/// One accepted connection.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) tls: Option<TlsFacts>,
    /// Told when the connection is to be reset.
    pub(crate) cut: Notify,
}

impl Connection {
    /// The thumbprint of the client's certificate.
    pub(crate) fn certificate(&self) -> Option<Thumbprint> {
        self.tls.and_then(|tls| tls.certificate)
    }
}

/// The open connections.
#[derive(Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Weak<Connection>>>,
}

impl Connections {
    /// A number for a connection that was just accepted.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps sight of a connection until it ends.
    pub(crate) fn open(&self, number: u64, tls: Option<TlsFacts>) -> Arc<Connection> {
        let connection = Arc::new(Connection { number, tls, cut: Notify::new() });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, connection| connection.strong_count() > 0);
        open.insert(number, Arc::downgrade(&connection));
        connection
    }

    /// Resets every open connection that presented this certificate, and says how many.
    pub(crate) fn reset(&self, certificate: Thumbprint) -> usize {
        self.cut(|connection| connection.certificate() == Some(certificate))
    }

    /// Resets every open connection.
    pub(crate) fn reset_all(&self) {
        self.cut(|_| true);
    }

    fn cut(&self, which: impl Fn(&Connection) -> bool) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let those = open.values().filter_map(Weak::upgrade).filter(|connection| which(connection));
        those.inspect(|connection| connection.cut.notify_one()).count()
    }
}
