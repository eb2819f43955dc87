//! The progress of the requests of an HTTP/1.1 connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of the requests of an HTTP/1.1 connection, which are numbered from 1.
#[derive(Default)]
pub(crate) struct RequestProgress {
    /// The last request that has arrived.
    arrived: AtomicU64,
    /// The last request whose body was read to its end.
    read: AtomicU64,
    /// The last request whose response is in the socket.
    sent: AtomicU64,
    is_suspending: AtomicBool,
}

impl RequestProgress {
    /// Returns the number of a request that arrives.
    pub(crate) fn begin(&self) -> u64 {
        self.arrived.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns the number of the last request.
    pub(crate) fn last(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Records that the body of a request was read to its end.
    pub(crate) fn body_ended(&self, number: u64) {
        self.read.fetch_max(number, Ordering::SeqCst);
    }

    /// Records that the responses to all requests are in the socket.
    pub(crate) fn all_sent(&self) {
        self.sent.store(self.last(), Ordering::SeqCst);
    }

    /// Returns true if a request has arrived after that of this number, and all have ended.
    pub(crate) fn is_complete_after(&self, number: u64) -> bool {
        let last = self.last();
        let is_last = |progress: &AtomicU64| progress.load(Ordering::SeqCst) == last;
        last > number && is_last(&self.read) && is_last(&self.sent)
    }

    /// Returns true while HTTP ends and the connection does not.
    pub(crate) fn is_suspending(&self) -> bool {
        self.is_suspending.load(Ordering::SeqCst)
    }

    pub(crate) fn set_suspending(&self, is_suspending: bool) {
        self.is_suspending.store(is_suspending, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Otherwise, the body of a later request would be taken for a request.
    #[test]
    fn request_is_complete_with_its_own_body() {
        let progress = RequestProgress::default();
        assert!(!progress.is_complete_after(0));
        let first = progress.begin();
        progress.all_sent();
        assert!(!progress.is_complete_after(0), "the body is not read");
        progress.body_ended(first);
        assert!(progress.is_complete_after(0) && !progress.is_complete_after(first));
        let second = progress.begin();
        progress.body_ended(first);
        progress.all_sent();
        assert!(!progress.is_complete_after(first), "an earlier body has ended");
        progress.body_ended(second);
        assert!(progress.is_complete_after(first));
        progress.begin();
        assert!(!progress.is_complete_after(first), "another request has arrived");
    }
}
