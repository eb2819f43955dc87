//! Leases for the results of discovery.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use symbolon_lease::{Lease, LeaseKey};
use symbolon_types::SteadyTime;

/// A lifetime without practical end that does not overflow.
const PERMANENT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Returns the lease of a value that does not expire.
pub(super) fn permanent<V>(value: V, now: SteadyTime) -> Lease<V> {
    Lease::new(value, now.plus(PERMANENT))
}

/// Returns the lease of a value that does not expire, but is refreshed in the background after
/// `pause`.
pub(super) fn refreshed_after<V>(value: V, now: SteadyTime, pause: Duration) -> Lease<V> {
    permanent(value, now).with_refresh_at(now.plus(pause))
}

/// Returns the lease of a value that expires after `pause`.
pub(super) fn expiring_after<V>(value: V, now: SteadyTime, pause: Duration) -> Lease<V> {
    Lease::new(value, now.plus(pause))
}

/// A borrowed name as the key of a cache.
#[derive(Clone, Copy)]
pub(super) struct NameKey<'a>(pub(super) &'a str);

impl Hash for NameKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl LeaseKey<Box<str>> for NameKey<'_> {
    fn matches(&self, key: &Box<str>) -> bool {
        *self.0 == **key
    }

    fn to_key(&self) -> Box<str> {
        self.0.into()
    }
}
