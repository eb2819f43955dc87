//! The number of interim responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of interim responses (RFC 9110 §15.2) to one request over HTTP/1.1. A server may send
/// any number, and hyper skips them all.
#[derive(Debug)]
pub(crate) struct InterimCount(Arc<AtomicUsize>);

impl InterimCount {
    /// Enough for one every few seconds while a slow request is processed.
    pub(crate) const LIMIT: usize = 64;

    /// Counts those of a request.
    pub(crate) fn of<B>(request: &mut http::Request<B>) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        hyper::ext::on_informational(request, move |_response| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        Self(count)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > Self::LIMIT
    }
}
