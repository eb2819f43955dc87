//! The connection that an attempt to send a request opens.

use std::sync::{Arc, Mutex, PoisonError};

use symbolon_rustls::ClientAuthRecord;

tokio::task_local! {
    /// The attempt whose future is polled. reqwest opens a connection within the future of the
    /// request that needs it.
    static CURRENT: Attempt;
}

/// One attempt to send a request. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    record: Arc<Mutex<Option<ClientAuthRecord>>>,
    is_tls: bool,
}

impl Attempt {
    /// Creates an attempt for a URL of this scheme.
    pub(crate) fn of_scheme(scheme: &str) -> Self {
        Self { record: Arc::default(), is_tls: scheme == "https" }
    }

    /// Returns true if the connection to the server has TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the attempt whose future is polled.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Drives the future of this attempt.
    pub(crate) async fn drive<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// Sets the record of a connection that is being opened.
    pub(crate) fn set_record(&self, record: ClientAuthRecord) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// Returns the record of the connection that was opened; `None` if the request used, or waited
    /// for, one that another request opened.
    pub(crate) fn record(&self) -> Option<ClientAuthRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
