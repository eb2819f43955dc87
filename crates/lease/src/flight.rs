//! Single flight: one load, shared by the callers that wait for it.

use std::pin::Pin;

use futures_util::future::{FutureExt, Shared, WeakShared};
use symbolon_types::Error;

type Load<V> = Pin<Box<dyn Future<Output = Result<V, Error>> + Send>>;

/// A running load. Every clone can drive it, so it outlives a caller that gives up. When the last
/// clone is dropped, the load is cancelled.
pub(crate) type Flight<V> = Shared<Load<V>>;

pub(crate) fn start<V: Clone>(load: impl Future<Output = Result<V, Error>> + Send + 'static) -> Flight<V> {
    let load: Load<V> = Box::pin(load);
    load.shared()
}

/// The cache's record of a flight. It can join the flight and does not keep it alive.
#[derive(Clone)]
pub(crate) struct FlightRecord<V> {
    id: u64,
    /// Loads with different keys must not be shared.
    bypass_key: Option<Box<str>>,
    flight: WeakShared<Load<V>>,
}

impl<V: Clone> FlightRecord<V> {
    pub(crate) fn new(id: u64, bypass_key: Option<&str>, flight: &Flight<V>) -> Option<Self> {
        Some(Self { id, bypass_key: bypass_key.map(Into::into), flight: flight.downgrade()? })
    }

    pub(crate) fn has_id(&self, id: u64) -> bool {
        self.id == id
    }

    pub(crate) fn is_running(&self) -> bool {
        self.flight.upgrade().is_some()
    }

    pub(crate) fn join(&self, bypass_key: Option<&str>) -> Option<Flight<V>> {
        if self.bypass_key.as_deref() == bypass_key { self.flight.upgrade() } else { None }
    }
}
