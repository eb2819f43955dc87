//! One load that many callers may wait for.

use std::pin::Pin;

use futures_util::future::{FutureExt, Shared, WeakShared};

use crate::Error;

type Load<V> = Pin<Box<dyn Future<Output = Result<V, Error>> + Send>>;

/// A load under way. Whoever holds a clone can drive it, so a caller that gives up does not take
/// the others' load with it; when the last one gives up, the load is dropped.
pub(super) type Flight<V> = Shared<Load<V>>;

pub(super) fn take_off<V: Clone>(load: impl Future<Output = Result<V, Error>> + Send + 'static) -> Flight<V> {
    let load: Load<V> = Box::pin(load);
    load.shared()
}

/// What the cache remembers of a flight: enough to join it, not enough to keep it alive.
#[derive(Clone)]
pub(super) struct FlightRecord<V> {
    id: u64,
    /// Loads that ask for different things must not be taken for each other.
    variant: Option<Box<str>>,
    flight: WeakShared<Load<V>>,
}

impl<V: Clone> FlightRecord<V> {
    pub(super) fn new(id: u64, variant: Option<&str>, flight: &Flight<V>) -> Option<Self> {
        Some(Self { id, variant: variant.map(Into::into), flight: flight.downgrade()? })
    }

    pub(super) fn is(&self, id: u64) -> bool {
        self.id == id
    }

    pub(super) fn is_aloft(&self) -> bool {
        self.flight.upgrade().is_some()
    }

    pub(super) fn join(&self, variant: Option<&str>) -> Option<Flight<V>> {
        if self.variant.as_deref() == variant { self.flight.upgrade() } else { None }
    }
}
