//! The request that a future waits for.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::phase::PhaseCell;

/// A request that a future waits for. Clones are cheap.
#[derive(Clone, Debug)]
pub struct PendingRequest {
    destination: Arc<str>,
    phase: PhaseCell,
    is_paused: bool,
}

/// The change of a future's request in one poll.
#[derive(Default)]
enum PendingChange {
    #[default]
    Unchanged,
    Finished,
    Waiting(PendingRequest),
}

thread_local! {
    /// The last change in the present poll of this thread.
    static CHANGE: Cell<PendingChange> = const { Cell::new(PendingChange::Unchanged) };
}

impl PendingRequest {
    /// Creates a request to this server, whose phase is in a cell.
    #[must_use]
    pub fn new(destination: impl Into<Arc<str>>, phase: PhaseCell) -> Self {
        Self { destination: destination.into(), phase, is_paused: false }
    }

    /// Returns the request in the pause before it is sent again.
    pub(crate) fn paused(self) -> Self {
        Self { is_paused: true, ..self }
    }

    /// Runs a future, whose pending polls wait for this request.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            CHANGE.set(match polled {
                Poll::Pending => PendingChange::Waiting(self.clone()),
                Poll::Ready(_) => PendingChange::Finished,
            });
            polled
        })
        .await
    }
}

/// Completes "waited for".
impl fmt::Display for PendingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase.phase() {
            _ if self.is_paused => f.write_str("the next attempt")?,
            Some(phase) => write!(f, "{phase}")?,
            None => f.write_str("the response")?,
        }
        write!(f, " ({})", self.destination)
    }
}

/// Runs a future, and keeps in `last` the request that it waits for, if that is known.
pub(crate) async fn observe<F: Future>(last: &mut Option<PendingRequest>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        CHANGE.take();
        let polled = future.as_mut().poll(context);
        let change = CHANGE.take();
        match &change {
            PendingChange::Unchanged => {}
            PendingChange::Finished => *last = None,
            PendingChange::Waiting(request) => *last = Some(request.clone()),
        }
        // For the observer of an outer future.
        CHANGE.set(change);
        polled
    })
    .await
}
