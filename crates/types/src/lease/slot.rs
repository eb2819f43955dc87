//! What is kept under one key.

use std::time::Duration;

use super::Lease;
use super::flight::FlightRecord;
use super::moment::Moment;
use crate::Error;

/// The pause after the first failed renewal; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause between two renewals that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that a service is believed to need.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60 * 60);

pub(super) struct Slot<V> {
    pub(super) lease: Option<Lease<V>>,
    /// The load that brought the lease.
    filled_by: u64,
    /// Most entries are not being loaded, and are kept small.
    loads: Option<Box<Loads<V>>>,
}

/// The loads of a key that are under way, and the renewals that failed since the last success.
struct Loads<V> {
    flights: Vec<FlightRecord<V>>,
    failed_renewals: u32,
    renew_not_before: Option<Moment>,
}

impl<V: Clone> Slot<V> {
    pub(super) fn new() -> Self {
        Self { lease: None, filled_by: 0, loads: None }
    }

    /// The lease, unless its hard deadline has passed.
    pub(super) fn live(&self, now: Moment) -> Option<&Lease<V>> {
        self.lease.as_ref().filter(|lease| now < lease.expires_at)
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        let refresh_at = self.lease.as_ref().map(|lease| lease.refresh_at);
        let pauses_until = |loads: &Loads<V>| loads.renew_not_before.is_some_and(|at| now < at);
        refresh_at.is_some_and(|at| at <= now)
            && !self.loads.as_deref().is_some_and(pauses_until)
            && !self.is_loading()
    }

    /// The flights of a key; some may have ended without landing.
    pub(super) fn flights(&self) -> &[FlightRecord<V>] {
        self.loads.as_ref().map_or(&[], |loads| &loads.flights)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.flights().iter().any(FlightRecord::is_aloft)
    }

    /// Nothing here is worth keeping.
    pub(super) fn is_spent(&self, now: Moment) -> bool {
        self.live(now).is_none() && !self.is_loading()
    }

    pub(super) fn take_off(&mut self, record: Option<FlightRecord<V>>) {
        let flights = &mut self.loads().flights;
        flights.retain(FlightRecord::is_aloft);
        flights.extend(record);
    }

    pub(super) fn land(&mut self, id: u64) {
        if let Some(loads) = &mut self.loads {
            loads.flights.retain(|record| !record.is(id) && record.is_aloft());
        }
    }

    /// Takes what a load brought, unless a load that started later was faster.
    pub(super) fn fill(&mut self, lease: Lease<V>, load: u64) {
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

    /// A failed load leaves the value as it is, and is not repeated at once.
    pub(super) fn back_off(&mut self, error: &Error, now: Moment) {
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_ASKED_PAUSE);
        let loads = self.loads();
        let doubled = FIRST_PAUSE.saturating_mul(1 << loads.failed_renewals.min(8)).min(LONGEST_PAUSE);
        loads.failed_renewals = loads.failed_renewals.saturating_add(1);
        loads.renew_not_before = Some(now.after(doubled.max(asked)));
    }

    fn loads(&mut self) -> &mut Loads<V> {
        let none = || Loads { flights: Vec::new(), failed_renewals: 0, renew_not_before: None };
        self.loads.get_or_insert_with(|| Box::new(none()))
    }
}
