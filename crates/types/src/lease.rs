//! Values with two deadlines, kept under a key and renewed by whoever needs them.
//!
//! Tokens and bindings need the same thing, so it is written once. Before its soft deadline a
//! value is simply served. Between the deadlines it is served at once while one renewal is under
//! way; a renewal that fails keeps the value and backs off. After the hard deadline everybody who
//! asks waits for one load and shares its outcome.
//!
//! ```
//! # use std::time::Duration;
//! # use symbolon_types::lease::{Lease, LeaseCache, Loaded};
//! # use symbolon_types::SharedClock;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), symbolon_types::Error> {
//! let clock = SharedClock::system();
//! let cache = LeaseCache::<&str, u32>::new(100, clock.clone());
//! let load = || async move { Ok(Loaded::new(Lease::new(42, clock.now() + Duration::from_secs(3600)))) };
//! let obtained = cache.obtain(&"answer", load).await?;
//! assert_eq!(obtained.value, 42);
//! assert!(cache.find(&"answer").is_some());
//! # Ok(())
//! # }
//! ```

mod cache;
mod flight;
mod moment;
mod slot;

use std::hash::Hash;
use std::time::{Duration, SystemTime};

use self::moment::Moment;
use crate::Jitter;

pub use cache::LeaseCache;

/// The most that a half-life is moved by jitter, either way (IMDSv2 caching proposal: five minutes).
const HALF_LIFE_SPREAD: Duration = Duration::from_secs(5 * 60);

/// A value, when to start renewing it, and when it ends.
#[derive(Clone, Debug)]
pub struct Lease<V> {
    value: V,
    /// Never, where there is no soft deadline.
    refresh_at: Moment,
    expires_at: Moment,
}

impl<V> Lease<V> {
    /// A value that is served until `expires_at`, and not renewed before.
    pub fn new(value: V, expires_at: SystemTime) -> Self {
        Self { value, refresh_at: Moment::NEVER, expires_at: Moment::of(expires_at) }
    }

    /// The same, renewed from `refresh_at` on while the value is still served.
    #[must_use]
    pub fn refreshed_at(mut self, refresh_at: Option<SystemTime>) -> Self {
        self.refresh_at = refresh_at.map_or(Moment::NEVER, Moment::of);
        self
    }

    /// The value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// The soft deadline, if there is one.
    pub fn refresh_at(&self) -> Option<SystemTime> {
        (self.refresh_at != Moment::NEVER).then(|| self.refresh_at.time())
    }

    /// The hard deadline.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at.time()
    }
}

/// Half-way between two moments, moved by at most five minutes or a twentieth of the time between
/// them, whichever is less.
#[must_use]
pub fn half_life(from: SystemTime, until: SystemTime, jitter: &Jitter) -> SystemTime {
    let life = until.duration_since(from).unwrap_or_default();
    let spread = HALF_LIFE_SPREAD.min(life / 20);
    from + (life / 2 - spread) + (spread * 2).mul_f64(jitter.draw())
}

/// What looks up an entry whose key is a `K`, without having to be a `K`.
///
/// A borrowed form of a key implements it, so that a hit allocates nothing. It must hash as the
/// key it stands for does.
pub trait LeaseKey<K>: Hash {
    /// Whether it stands for this key.
    fn matches(&self, key: &K) -> bool;

    /// The key it stands for.
    fn to_key(&self) -> K;
}

impl<K: Hash + Eq + Clone> LeaseKey<K> for K {
    fn matches(&self, key: &K) -> bool {
        self == key
    }

    fn to_key(&self) -> K {
        self.clone()
    }
}

/// A value found in the cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found<V> {
    /// The value; its hard deadline lies ahead.
    pub value: V,
    /// Its soft deadline has passed and nobody is renewing it: the finder should.
    pub is_due: bool,
}

/// A value obtained from the cache or by a load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Obtained<V> {
    /// The value.
    pub value: V,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an obtained value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// It was in the cache.
    Cache,
    /// It was loaded for this caller.
    Load,
    /// It was loaded for another caller, whose load this one joined.
    Joined,
}

/// What a load brings: the lease, and the key it belongs to if that turned out to be another one.
#[derive(Clone, Debug)]
pub struct Loaded<K, V> {
    lease: Lease<V>,
    key: Option<K>,
}

impl<K, V> Loaded<K, V> {
    /// A lease for the key that was asked for.
    pub fn new(lease: Lease<V>) -> Self {
        Self { lease, key: None }
    }

    /// A lease that belongs under another key, because the load found that it must: the asked
    /// entry is left as it is.
    pub fn under(lease: Lease<V>, key: K) -> Self {
        Self { lease, key: Some(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_life_is_in_the_middle_and_moves_by_at_most_five_minutes() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (draw, offset) in [(0.0, -300), (0.5, 0), (1.0, 300)] {
            let at = half_life(from, from + hours(24), &Jitter::fixed(draw));
            assert_eq!(seconds_between(from, at), 12 * 3600 + offset, "{draw}");
        }
        assert_eq!(half_life(from, from - hours(1), &Jitter::fixed(1.0)), from);
        let short = half_life(from, from + Duration::from_secs(100), &Jitter::fixed(1.0));
        assert_eq!(seconds_between(from, short), 55);
    }

    fn seconds_between(from: SystemTime, until: SystemTime) -> i64 {
        until.duration_since(from).map_or(-1, |between| between.as_secs().cast_signed())
    }
}
