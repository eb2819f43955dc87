//! How long it is remembered what a request brought.

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use symbolon_lease::{Lease, LeaseKey};

/// As good as for ever, and no overflow.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A value that stays.
pub(super) fn for_good<V>(value: V, now: SystemTime) -> Lease<V> {
    Lease::new(value, after(now, FOR_GOOD))
}

/// A value that stays until there is another, which is asked for after `pause`, while nobody
/// waits.
pub(super) fn until_asked_again<V>(value: V, now: SystemTime, pause: Duration) -> Lease<V> {
    for_good(value, now).with_refresh_at(Some(after(now, pause)))
}

/// A value that is gone after `pause`.
pub(super) fn for_a_while<V>(value: V, now: SystemTime, pause: Duration) -> Lease<V> {
    Lease::new(value, after(now, pause))
}

pub(super) fn after(now: SystemTime, pause: Duration) -> SystemTime {
    now.checked_add(pause).unwrap_or(now)
}

/// A key that is a name, borrowed.
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
