//! The cache of leases.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use symbolon_types::{Error, SharedClock, SteadyTime, catch_panic, catch_panic_of};

use crate::flight::{self, Flight, FlightRecord};
use crate::key::LeaseKey;
use crate::lease::Lease;
use crate::shard::{CacheEntry, Shard, Table, remove, slot_of};

/// Enough that two threads rarely use the same shard.
const MAX_SHARDS: usize = 16;
/// The name of a load in the error of its panic.
const COMPONENT: &str = "the code that loads a token or a certificate";
/// Keys are spread over shards by hash: smaller shards would be full long before the cache is.
const MIN_SHARD_CAPACITY: usize = 256;

/// Returns the number of shards: as few as the size of their tables allows, so that the tables are
/// well filled. A table has a power of two of places, and one place in eight stays empty.
fn shard_count(capacity: usize) -> usize {
    let most = (capacity / MIN_SHARD_CAPACITY).clamp(1, MAX_SHARDS);
    // An entry is inserted before another one is evicted.
    let places = (capacity.div_ceil(most) + 1).saturating_mul(8).div_ceil(7).next_power_of_two().max(8);
    capacity.div_ceil(places / 8 * 7 - 1).clamp(1, most)
}

/// A value found in the cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found<V> {
    /// The value; it has not expired.
    pub value: V,
    /// True if the soft deadline has passed and no renewal is running: the finder should start one.
    pub is_due: bool,
}

/// A value from the cache or from a load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Obtained<V> {
    /// The value.
    pub value: V,
    /// The origin of the value.
    pub origin: Origin,
}

/// The origin of an obtained value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The cache.
    Cache,
    /// A load that this caller started.
    Load,
    /// A load that another caller had started.
    Joined,
}

/// The result of a load: a lease, and its key if the load found that it differs from the requested
/// one.
#[derive(Clone, Debug)]
pub struct Loaded<K, V> {
    lease: Lease<V>,
    key: Option<K>,
}

impl<K, V> Loaded<K, V> {
    /// Creates the result for the requested key.
    pub fn new(lease: Lease<V>) -> Self {
        Self { lease, key: None }
    }

    /// Creates a result that is stored under another key. The entry of the requested key stays as
    /// it is.
    pub fn with_key(lease: Lease<V>, key: K) -> Self {
        Self { lease, key: Some(key) }
    }
}

/// A bounded map from keys to leases.
///
/// - **Bound**: the number of entries given to [`new`](Self::new). From 512 on, it is divided among
///   up to 16 shards, over which keys are spread by hash, so that some shards fill before others.
/// - **Key**: `K`; a lookup may use any [`LeaseKey<K>`].
/// - **Eviction**: when a shard is full, its expired entries go first, then the entry that expires
///   next.
///
/// A lookup takes one shared lock, allocates nothing and never waits for a load. Loads run in the
/// callers' futures: the first caller starts a load, others join it, and it runs as long as one of
/// them waits. A load is shared by callers of one Tokio runtime, or of none, that come within a
/// minute; others start their own. A load that panics fails with `panicked`. Clones share the
/// entries.
pub struct LeaseCache<K, V>(Arc<CacheParts<K, V>>);

struct CacheParts<K, V> {
    shards: Box<[Shard<K, V>]>,
    capacity: usize,
    hasher: DefaultHashBuilder,
    clock: SharedClock,
    /// The id of the next load.
    next_load: AtomicU64,
}

impl<K, V> LeaseCache<K, V>
where
    K: LeaseKey<K> + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Creates an empty cache of at most `capacity` entries, with deadlines on `clock`.
    #[must_use]
    pub fn new(capacity: usize, clock: SharedClock) -> Self {
        let shards = shard_count(capacity);
        Self(Arc::new(CacheParts {
            shards: (0..shards).map(|_| Shard::new()).collect(),
            capacity: capacity.max(1),
            hasher: DefaultHashBuilder::default(),
            clock,
            next_load: AtomicU64::new(0),
        }))
    }

    /// Returns the value of a key, unless it has expired.
    pub fn find<Q: LeaseKey<K>>(&self, key: &Q) -> Option<Found<V>> {
        self.find_at(key, self.0.clock.steady_now())
    }

    /// Returns the value of a key at a time that the caller has already read. Reading the clock
    /// takes as long as half a lookup.
    pub fn find_at<Q: LeaseKey<K>>(&self, key: &Q, now: SteadyTime) -> Option<Found<V>> {
        let hash = self.0.hasher.hash_one(key);
        let shard = self.0.shard(hash).read();
        let slot = &shard.find(hash, |entry| key.matches(&entry.key))?.slot;
        let lease = slot.live(now)?;
        Some(Found { value: lease.value().clone(), is_due: slot.is_due(now) })
    }

    /// Returns true if the key has a value, even an expired one that was not evicted yet.
    #[must_use]
    pub fn contains_even_expired<Q: LeaseKey<K>>(&self, key: &Q) -> bool {
        let hash = self.0.hasher.hash_one(key);
        let shard = self.0.shard(hash).read();
        shard.find(hash, |entry| key.matches(&entry.key)).is_some_and(|entry| entry.slot.lease.is_some())
    }

    /// Returns the value of a key from the cache, or else from `load`.
    ///
    /// A value past its soft deadline is returned at once and renewed by `load` in the background
    /// of the current Tokio runtime. Without a runtime, this caller waits for the renewal, and gets
    /// the old value if it fails.
    ///
    /// # Errors
    /// The error of the load, if there was no value to return.
    pub async fn obtain<Q, F, L>(&self, key: &Q, load: F) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        match self.find(key) {
            Some(Found { value, is_due: false }) => Ok(Obtained { value, origin: Origin::Cache }),
            Some(Found { value, is_due: true }) => Ok(self.refresh(key, value, load).await),
            None => self.join_or_load(key, None, LoadReason::Missing, load).await,
        }
    }

    /// Returns the value that `load` yields now, bypassing the cached one.
    ///
    /// Concurrent callers with the same `bypass_key` share one load. Loads with another bypass key,
    /// and those of [`obtain`](Self::obtain), are not shared with them.
    ///
    /// # Errors
    /// The error of the load. The cached value stays.
    pub async fn renew<Q, F, L>(&self, key: &Q, bypass_key: &str, load: F) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        self.join_or_load(key, Some(bypass_key), LoadReason::Bypass, load).await
    }

    /// Stores a lease under a key.
    pub fn insert(&self, key: K, lease: Lease<V>) {
        let load = self.0.next_load.fetch_add(1, Ordering::Relaxed);
        self.0.store(key, lease, load);
    }

    /// Removes the value of a key if `predicate` returns true for it. Returns true if it was
    /// removed.
    pub fn remove_if<Q: LeaseKey<K>>(&self, key: &Q, predicate: impl FnOnce(&V) -> bool) -> bool {
        let hash = self.0.hasher.hash_one(key);
        let mut shard = self.0.shard(hash).write();
        let Some(entry) = shard.find_mut(hash, |entry| key.matches(&entry.key)) else { return false };
        let is_removed = entry.slot.lease.as_ref().is_some_and(|lease| predicate(lease.value()));
        if is_removed {
            entry.slot.lease = None;
        }
        is_removed
    }

    /// Removes every entry.
    pub fn clear(&self) {
        for shard in &*self.0.shards {
            shard.write().clear();
        }
    }

    /// Returns every key whose value has not expired, with its lease, in no particular order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(K, Lease<V>)> {
        let now = self.0.now();
        let mut all = Vec::new();
        for shard in &*self.0.shards {
            let shard = shard.read();
            all.extend(
                shard.iter().filter_map(|entry| Some((entry.key.to_key(), entry.slot.live(now)?.clone()))),
            );
        }
        all
    }

    /// Returns the number of entries, including expired ones that were not evicted yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Returns true if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn refresh<Q, F, L>(&self, key: &Q, value: V, load: F) -> Obtained<V>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        if let JoinOutcome::Started(flight) = self.0.join_or_start(key, None, LoadReason::Due, load) {
            match tokio::runtime::Handle::try_current() {
                // The flight itself stores the result.
                Ok(runtime) => drop(runtime.spawn(flight)),
                Err(_) => {
                    if let Ok(value) = flight.await {
                        return Obtained { value, origin: Origin::Load };
                    }
                }
            }
        }
        Obtained { value, origin: Origin::Cache }
    }

    async fn join_or_load<Q, F, L>(
        &self,
        key: &Q,
        bypass_key: Option<&str>,
        reason: LoadReason,
        load: F,
    ) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        let (flight, origin) = match self.0.join_or_start(key, bypass_key, reason, load) {
            JoinOutcome::Cached(value) => return Ok(Obtained { value, origin: Origin::Cache }),
            JoinOutcome::Joined(flight) => (flight, Origin::Joined),
            JoinOutcome::Started(flight) => (flight, Origin::Load),
        };
        flight.await.map(|value| Obtained { value, origin })
    }
}

/// The reason for a load.
#[derive(Clone, Copy)]
enum LoadReason {
    /// There was no value.
    Missing,
    /// The value was due for renewal.
    Due,
    /// The caller bypasses the cached value.
    Bypass,
}

/// The outcome of an attempt to start a load.
enum JoinOutcome<V> {
    /// The value arrived in the meantime.
    Cached(V),
    /// A load is running already.
    Joined(Flight<V>),
    Started(Flight<V>),
}

impl<K, V> CacheParts<K, V>
where
    K: LeaseKey<K> + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn join_or_start<Q, F, L>(
        self: &Arc<Self>,
        key: &Q,
        bypass_key: Option<&str>,
        reason: LoadReason,
        load: F,
    ) -> JoinOutcome<V>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        let now = self.now();
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).write();
        let slot = slot_of(&mut shard, &self.hasher, hash, key);
        // Another caller may have loaded the value since this one's lookup.
        if let Some(lease) = slot.live(now)
            && match reason {
                LoadReason::Missing => true,
                LoadReason::Due => !slot.is_due(now),
                LoadReason::Bypass => false,
            }
        {
            return JoinOutcome::Cached(lease.value().clone());
        }
        if let Some(flight) = slot.flights().iter().find_map(|record| record.join(bypass_key, now)) {
            return JoinOutcome::Joined(flight);
        }
        let id = self.next_load.fetch_add(1, Ordering::Relaxed);
        let is_renewal = bypass_key.is_none();
        let load = catch_panic(COMPONENT, load);
        let flight = flight::start(Arc::clone(self).run(key.to_key(), id, is_renewal, load));
        slot.start(FlightRecord::new(id, bypass_key, now, &flight));
        JoinOutcome::Started(flight)
    }

    /// Runs a load and stores its result. A failure delays the next renewal only if the load
    /// was a renewal itself: a load with a bypass key requests something else.
    async fn run(
        self: Arc<Self>,
        key: K,
        id: u64,
        is_renewal: bool,
        load: Result<impl Future<Output = Result<Loaded<K, V>, Error>>, Error>,
    ) -> Result<V, Error> {
        let outcome = match load {
            Ok(load) => catch_panic_of(COMPONENT, || load).await.unwrap_or_else(Err),
            Err(panicked) => Err(panicked),
        };
        let now = self.now();
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.shard(hash).write();
        let slot = slot_of(&mut shard, &self.hasher, hash, &key);
        slot.finish(id);
        let loaded = match outcome {
            Ok(loaded) => loaded,
            Err(error) => {
                if is_renewal {
                    slot.back_off(&error, now);
                }
                if slot.is_disposable(now) {
                    remove(&mut shard, hash, &key);
                }
                return Err(error);
            }
        };
        let value = loaded.lease.value().clone();
        match loaded.key {
            None => {
                slot.fill(loaded.lease, id);
                self.make_room(&mut shard, hash, &key);
            }
            Some(actual) => {
                if slot.is_disposable(now) {
                    remove(&mut shard, hash, &key);
                }
                drop(shard);
                self.store(actual, loaded.lease, id);
            }
        }
        Ok(value)
    }

    fn now(&self) -> SteadyTime {
        self.clock.steady_now()
    }

    fn store(&self, key: K, lease: Lease<V>, load: u64) {
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.shard(hash).write();
        slot_of(&mut shard, &self.hasher, hash, &key).fill(lease, load);
        self.make_room(&mut shard, hash, &key);
    }

    /// Evicts disposable entries, then those that expire next, but never the newest. Entries with a
    /// running load stay: their number is bounded by the callers that wait for them.
    fn make_room(&self, shard: &mut Table<K, V>, hash: u64, newest: &K) {
        let capacity = self.shard_capacity(hash);
        if shard.len() <= capacity {
            return;
        }
        let now = self.now();
        shard.retain(|entry| !entry.slot.is_disposable(now));
        while shard.len() > capacity {
            let is_newest = |entry: &CacheEntry<K, V>| newest.matches(&entry.key);
            let idle = shard.iter().filter(|entry| !is_newest(entry) && !entry.slot.is_loading());
            let expiring = idle.filter_map(|entry| Some((entry.slot.lease.as_ref()?.expires_at(), entry)));
            let Some((_, next)) = expiring.min_by_key(|(expires_at, _)| *expires_at) else { return };
            let key = next.key.to_key();
            remove(shard, self.hasher.hash_one(&key), &key);
        }
    }

    /// Returns the shard of a hash. The table itself uses the lowest and the highest bits; the
    /// shard is chosen by bits from the middle.
    fn shard(&self, hash: u64) -> &Shard<K, V> {
        &self.shards[self.shard_index(hash)]
    }

    fn shard_index(&self, hash: u64) -> usize {
        let middle = (hash >> 16) & 0xffff_ffff;
        // The upper half of the product is evenly distributed below the number of shards.
        ((middle * self.shards.len() as u64) >> 32) as usize
    }

    /// Returns the capacity of the shard of a hash. All capacities add up to that of the cache.
    fn shard_capacity(&self, hash: u64) -> usize {
        let shards = self.shards.len();
        self.capacity / shards + usize::from(self.shard_index(hash) < self.capacity % shards)
    }
}

impl<K, V> Clone for LeaseCache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for LeaseCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseCache").field("capacity", &self.0.capacity).finish_non_exhaustive()
    }
}
