//! The content of one cache entry.

use std::time::Duration;

use symbolon_types::{Error, SteadyTime};

use crate::flight::FlightRecord;
use crate::lease::Lease;

/// The pause after the first failed renewal; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that doubling reaches.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that an error's `retry_after` sets.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Slot<V> {
    pub(crate) lease: Option<Lease<V>>,
    /// Id of the load that stored the lease.
    filled_by: u64,
    /// Boxed to keep entries small: most of them have no running load.
    loads: Option<Box<Loads<V>>>,
}

/// Running loads, and the failed renewals since the last success.
struct Loads<V> {
    flights: Vec<FlightRecord<V>>,
    failed_renewals: u32,
    renew_not_before: Option<SteadyTime>,
}

impl<V: Clone> Slot<V> {
    pub(crate) fn new() -> Self {
        Self { lease: None, filled_by: 0, loads: None }
    }

    /// Returns the lease unless it has expired.
    pub(crate) fn live(&self, now: SteadyTime) -> Option<&Lease<V>> {
        self.lease.as_ref().filter(|lease| now < lease.expires_at())
    }

    /// Returns true if a renewal should start now.
    pub(crate) fn is_due(&self, now: SteadyTime) -> bool {
        let refresh_at = self.lease.as_ref().map(Lease::refresh_at);
        let pauses = |loads: &Loads<V>| loads.renew_not_before.is_some_and(|at| now < at);
        refresh_at.is_some_and(|at| at <= now)
            && !self.loads.as_deref().is_some_and(pauses)
            && !self.flights().iter().any(|record| record.is_recent(now))
    }

    /// Returns the recorded flights; cancelled ones may be among them.
    pub(crate) fn flights(&self) -> &[FlightRecord<V>] {
        self.loads.as_ref().map_or(&[], |loads| &loads.flights)
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.flights().iter().any(FlightRecord::is_running)
    }

    /// Returns true if the entry holds neither a live value nor a running load.
    pub(crate) fn is_disposable(&self, now: SteadyTime) -> bool {
        self.live(now).is_none() && !self.is_loading()
    }

    pub(crate) fn start(&mut self, record: Option<FlightRecord<V>>) {
        let flights = &mut self.loads().flights;
        flights.retain(FlightRecord::is_running);
        flights.extend(record);
    }

    pub(crate) fn finish(&mut self, id: u64) {
        if let Some(loads) = &mut self.loads {
            loads.flights.retain(|record| !record.has_id(id) && record.is_running());
        }
    }

    /// Stores a lease, unless a load that started later has already stored one.
    pub(crate) fn fill(&mut self, lease: Lease<V>, load: u64) {
        if self.lease.is_some() && load < self.filled_by {
            return;
        }
        self.lease = Some(lease);
        self.filled_by = load;
        let flights = self.loads.take().map(|loads| loads.flights).unwrap_or_default();
        if !flights.is_empty() {
            self.loads().flights = flights;
        }
    }

    /// Delays the next renewal after a failed one.
    pub(crate) fn back_off(&mut self, error: &Error, now: SteadyTime) {
        let retry_after = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
        let loads = self.loads();
        let doubled = FIRST_PAUSE.saturating_mul(1 << loads.failed_renewals.min(8)).min(MAX_PAUSE);
        loads.failed_renewals = loads.failed_renewals.saturating_add(1);
        loads.renew_not_before = Some(now.plus(doubled.max(retry_after)));
    }

    fn loads(&mut self) -> &mut Loads<V> {
        let none = || Loads { flights: Vec::new(), failed_renewals: 0, renew_not_before: None };
        self.loads.get_or_insert_with(|| Box::new(none()))
    }
}
