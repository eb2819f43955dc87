//! Single flight: one load, shared by the callers that wait for it.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{FutureExt, Shared, WeakShared};
use symbolon_types::{Error, SteadyTime};
use tokio::runtime::{self, Handle};

/// The age up to which a load is joined and delays another one. An older load may belong to a
/// runtime that is no longer driven, or report the failure of a time limit that passed meanwhile.
const MAX_AGE: Duration = Duration::from_secs(60);

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
    /// The runtime whose timers and sockets the load waits for, if there is one. Only its callers
    /// may poll the load: no other runtime can wake it, and a runtime that shuts down makes it
    /// panic.
    runtime: Option<runtime::Id>,
    started_at: SteadyTime,
    flight: WeakShared<Load<V>>,
}

impl<V: Clone> FlightRecord<V> {
    /// Creates the record of a flight that this caller starts.
    pub(crate) fn new(
        id: u64,
        bypass_key: Option<&str>,
        started_at: SteadyTime,
        flight: &Flight<V>,
    ) -> Option<Self> {
        let (bypass_key, flight) = (bypass_key.map(Into::into), flight.downgrade()?);
        Some(Self { id, bypass_key, runtime: current_runtime(), started_at, flight })
    }

    pub(crate) fn has_id(&self, id: u64) -> bool {
        self.id == id
    }

    pub(crate) fn is_running(&self) -> bool {
        self.flight.upgrade().is_some()
    }

    /// Returns true if the flight is running and not too old to wait for.
    pub(crate) fn is_recent(&self, now: SteadyTime) -> bool {
        now < self.started_at.plus(MAX_AGE) && self.is_running()
    }

    /// Returns the flight if this caller may share it.
    pub(crate) fn join(&self, bypass_key: Option<&str>, now: SteadyTime) -> Option<Flight<V>> {
        let is_shared = self.bypass_key.as_deref() == bypass_key
            && self.runtime == current_runtime()
            && self.is_recent(now);
        if is_shared { self.flight.upgrade() } else { None }
    }
}

fn current_runtime() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}
