//! Refused requests, and the pauses before they are sent again.

use std::time::Duration;

use symbolon_types::{Error, SharedClock, SteadyTime};

use crate::cache::LeaseCache;
use crate::key::LeaseKey;
use crate::lease::Lease;

/// The pause after the first refusal; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The time after a pause for which its length is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// Returns true for the error of a service that would refuse the same request again: one with a
/// status 4xx that is not transient.
#[must_use]
pub fn is_refusal(error: &Error) -> bool {
    error.status().is_some_and(|status| (400..500).contains(&status)) && !error.is_transient()
}

/// The errors of requests that were refused for good, each until its request may be sent again.
///
/// The pause grows from one second to thirty. A tag of the request, such as a digest of its
/// credential, ends the growth when it changes. Clones share everything.
#[derive(Clone, Debug)]
pub struct RefusalCache<K, T> {
    refusals: LeaseCache<K, Refusal<T>>,
    clock: SharedClock,
}

#[derive(Clone, Debug)]
struct Refusal<T> {
    error: Error,
    tag: T,
    pause: Duration,
    until: SteadyTime,
}

impl<K, T> RefusalCache<K, T>
where
    K: LeaseKey<K> + Send + Sync + 'static,
    T: Clone + PartialEq + Send + Sync + 'static,
{
    /// Creates an empty cache of at most `capacity` refusals.
    #[must_use]
    pub fn new(capacity: usize, clock: SharedClock) -> Self {
        Self { refusals: LeaseCache::new(capacity, clock.clone()), clock }
    }

    /// Returns the refusal of a request that must not be sent again yet: the error, with the time
    /// left in its `retry_after`, and the tag.
    pub fn find<Q: LeaseKey<K>>(&self, key: &Q) -> Option<(Error, T)> {
        if self.refusals.is_empty() {
            return None;
        }
        let Refusal { error, tag, until, .. } = self.refusals.find(key)?.value;
        let left = until.since(self.clock.steady_now());
        (!left.is_zero()).then(|| (error.with_retry_after(Some(left)), tag))
    }

    /// Stores the refusal of the request with this tag.
    pub fn insert(&self, key: K, tag: T, error: &Error) {
        let earlier = self.refusals.find(&key).map(|found| found.value);
        let pause = match earlier.filter(|earlier| earlier.tag == tag) {
            Some(earlier) => MAX_PAUSE.min(earlier.pause * 2),
            None => FIRST_PAUSE,
        };
        let until = self.clock.steady_now().plus(pause);
        let refusal = Refusal { error: error.clone(), tag, pause, until };
        self.refusals.insert(key, Lease::new(refusal, until.plus(MEMORY)));
    }

    /// Removes the refusal of a request that has succeeded.
    pub fn remove<Q: LeaseKey<K>>(&self, key: &Q) {
        if !self.refusals.is_empty() {
            self.refusals.remove_if(key, |_| true);
        }
    }
}
