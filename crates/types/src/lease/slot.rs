//! What is kept under one key.

use std::time::{Duration, SystemTime};

use super::Lease;
use super::flight::FlightRecord;
use crate::Error;

/// The pause after the first failed renewal; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause between two renewals that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that a service is believed to need.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60 * 60);

pub(super) struct Slot<V> {
    pub(super) lease: Option<Lease<V>>,
    pub(super) flights: Vec<FlightRecord<V>>,
    failed_renewals: u32,
    renew_not_before: Option<SystemTime>,
    /// The load that brought the lease.
    filled_by: u64,
}

impl<V: Clone> Slot<V> {
    pub(super) fn new() -> Self {
        Self { lease: None, flights: Vec::new(), failed_renewals: 0, renew_not_before: None, filled_by: 0 }
    }

    /// The lease, unless its hard deadline has passed.
    pub(super) fn live(&self, now: SystemTime) -> Option<&Lease<V>> {
        self.lease.as_ref().filter(|lease| now < lease.expires_at)
    }

    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let passed = |at: Option<SystemTime>| at.is_some_and(|at| at <= now);
        passed(self.lease.as_ref().and_then(|lease| lease.refresh_at))
            && self.renew_not_before.is_none_or(|at| at <= now)
            && !self.is_loading()
    }

    pub(super) fn is_loading(&self) -> bool {
        self.flights.iter().any(FlightRecord::is_aloft)
    }

    /// Nothing here is worth keeping.
    pub(super) fn is_spent(&self, now: SystemTime) -> bool {
        self.live(now).is_none() && !self.is_loading()
    }

    pub(super) fn land(&mut self, id: u64) {
        self.flights.retain(|record| !record.is(id) && record.is_aloft());
    }

    /// Takes what a load brought, unless a load that started later was faster.
    pub(super) fn fill(&mut self, lease: Lease<V>, load: u64) {
        if self.lease.is_some() && load < self.filled_by {
            return;
        }
        self.lease = Some(lease);
        self.filled_by = load;
        self.failed_renewals = 0;
        self.renew_not_before = None;
    }

    /// A failed load leaves the value as it is, and is not repeated at once.
    pub(super) fn back_off(&mut self, error: &Error, now: SystemTime) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failed_renewals.min(8)).min(LONGEST_PAUSE);
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_ASKED_PAUSE);
        self.failed_renewals = self.failed_renewals.saturating_add(1);
        self.renew_not_before = now.checked_add(doubled.max(asked));
    }
}
