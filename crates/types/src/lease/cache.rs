//! Leases under keys.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::flight::{Flight, FlightRecord, take_off};
use super::moment::Moment;
use super::slot::Slot;
use super::{Found, Lease, LeaseKey, Loaded, Obtained, Origin};
use crate::{Error, SharedClock, background};

/// Enough that two threads rarely meet in one.
const MOST_SHARDS: usize = 16;
/// Keys fall into shards by chance: a small shard would be full long before the cache is.
const SMALLEST_SHARD: usize = 256;

/// A bounded map from keys to leases.
///
/// - **Bound**: the number of entries given to [`new`](Self::new). From 512 on it is divided among up
///   to 16 shards, into which keys fall by chance, so that some are full before others.
/// - **Key**: `K`; a look-up may use any [`LeaseKey<K>`].
/// - **Eviction**: when an entry does not fit, the expired ones of its shard go first, then the one
///   that would expire next.
///
/// A look-up takes one shared lock for the length of the look-up, allocates nothing and never
/// waits for a load. Loads run in the callers' futures: the first caller starts one, others join
/// it, and it lives as long as one of them does. Clones share the entries.
pub struct LeaseCache<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    shards: Box<[Shard<K, V>]>,
    shard_capacity: usize,
    hasher: DefaultHashBuilder,
    clock: SharedClock,
    flights: AtomicU64,
}

/// In cache lines of its own, of which x86-64 fetches two at a time: threads that look into
/// different shards do not get into each other's way.
#[repr(align(128))]
struct Shard<K, V>(RwLock<Table<K, V>>);

type Table<K, V> = HashTable<Entry<K, V>>;

/// What a look-up reads of it is the first half: a token's fits in one cache line.
#[repr(align(64))]
struct Entry<K, V> {
    hash: u64,
    key: K,
    slot: Slot<V>,
}

impl<K, V> LeaseCache<K, V>
where
    K: LeaseKey<K> + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty cache of at most `capacity` entries that reads deadlines off `clock`.
    #[must_use]
    pub fn new(capacity: usize, clock: SharedClock) -> Self {
        let shards = (capacity / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
        Self(Arc::new(Inner {
            shards: (0..shards).map(|_| Shard(RwLock::new(Table::new()))).collect(),
            shard_capacity: capacity.div_ceil(shards).max(1),
            hasher: DefaultHashBuilder::default(),
            clock,
            flights: AtomicU64::new(0),
        }))
    }

    /// The value under a key, if there is one whose hard deadline lies ahead.
    pub fn find<Q: LeaseKey<K>>(&self, key: &Q) -> Option<Found<V>> {
        self.find_at(key, self.0.clock.now())
    }

    /// The same at a time that was read before: for who looks into more than one cache, because reading
    /// the clock takes as long as half a look-up.
    pub fn find_at<Q: LeaseKey<K>>(&self, key: &Q, now: SystemTime) -> Option<Found<V>> {
        let now = Moment::of(now);
        let hash = self.0.hasher.hash_one(key);
        let shard = self.0.read(hash);
        let slot = &shard.find(hash, |entry| key.matches(&entry.key))?.slot;
        let lease = slot.live(now)?;
        Some(Found { value: lease.value.clone(), is_due: slot.is_due(now) })
    }

    /// Whether there is a value under a key, or was one that has ended and was not yet evicted.
    #[must_use]
    pub fn remembers<Q: LeaseKey<K>>(&self, key: &Q) -> bool {
        let hash = self.0.hasher.hash_one(key);
        let shard = self.0.read(hash);
        shard.find(hash, |entry| key.matches(&entry.key)).is_some_and(|entry| entry.slot.lease.is_some())
    }

    /// The value under a key: from the cache, or by `load`.
    ///
    /// A value past its soft deadline is returned at once and renewed by `load` in the background
    /// of the current Tokio runtime; where there is none, this caller waits for the renewal, and
    /// gets the old value if it fails.
    ///
    /// # Errors
    /// Those of the load, if there was no value to return.
    pub async fn obtain<Q, F, L>(&self, key: &Q, load: F) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        match self.find(key) {
            Some(Found { value, is_due: false }) => Ok(Obtained { value, origin: Origin::Cache }),
            Some(Found { value, is_due: true }) => Ok(self.refresh(key, value, load).await),
            None => self.join_or_load(key, None, Wanted::Missing, load).await,
        }
    }

    /// The value under a key as `load` brings it now, whatever is in the cache.
    ///
    /// Callers that ask for the same `variant` at the same time share one load; a load with
    /// another variant, or none, asks for something else and is not shared with.
    ///
    /// # Errors
    /// Those of the load. The value in the cache stays.
    pub async fn renew<Q, F, L>(&self, key: &Q, variant: &str, load: F) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        self.join_or_load(key, Some(variant), Wanted::Anyway, load).await
    }

    /// Puts a lease under a key.
    pub fn insert(&self, key: K, lease: Lease<V>) {
        let load = self.0.flights.fetch_add(1, Ordering::Relaxed);
        self.0.store(key, lease, load);
    }

    /// Forgets the value under a key if `is_unwanted` says so, and tells whether it did.
    pub fn remove_if<Q: LeaseKey<K>>(&self, key: &Q, is_unwanted: impl FnOnce(&V) -> bool) -> bool {
        let hash = self.0.hasher.hash_one(key);
        let mut shard = self.0.write(hash);
        let Some(entry) = shard.find_mut(hash, |entry| key.matches(&entry.key)) else { return false };
        let unwanted = entry.slot.lease.as_ref().is_some_and(|lease| is_unwanted(&lease.value));
        if unwanted {
            entry.slot.lease = None;
        }
        unwanted
    }

    /// Forgets every value.
    pub fn clear(&self) {
        for shard in &*self.0.shards {
            shard.write().clear();
        }
    }

    /// What there is now, in no order: every key whose value's hard deadline lies ahead, with its
    /// lease.
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

    /// How many entries there are, expired ones that were not yet evicted included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Whether there are no entries.
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
        if let Ready::Led(flight) = self.0.board(key, None, Wanted::Due, load) {
            let renewal = flight.clone();
            // The flight has stored the outcome; nobody waits for it here.
            let in_background = background::spawn(async move { drop(renewal.await) });
            if in_background.is_err()
                && let Ok(value) = flight.await
            {
                return Obtained { value, origin: Origin::Load };
            }
        }
        Obtained { value, origin: Origin::Cache }
    }

    async fn join_or_load<Q, F, L>(
        &self,
        key: &Q,
        variant: Option<&str>,
        wanted: Wanted,
        load: F,
    ) -> Result<Obtained<V>, Error>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        let (flight, origin) = match self.0.board(key, variant, wanted, load) {
            Ready::Cached(value) => return Ok(Obtained { value, origin: Origin::Cache }),
            Ready::Joined(flight) => (flight, Origin::Joined),
            Ready::Led(flight) => (flight, Origin::Load),
        };
        flight.await.map(|value| Obtained { value, origin })
    }
}

/// What a caller comes to load for.
#[derive(Clone, Copy)]
enum Wanted {
    /// There was no value.
    Missing,
    /// The value was due.
    Due,
    /// Whatever value there is.
    Anyway,
}

/// What a caller finds when it comes to load.
enum Ready<V> {
    Cached(V),
    Joined(Flight<V>),
    Led(Flight<V>),
}

impl<K, V> Inner<K, V>
where
    K: LeaseKey<K> + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn board<Q, F, L>(self: &Arc<Self>, key: &Q, variant: Option<&str>, wanted: Wanted, load: F) -> Ready<V>
    where
        Q: LeaseKey<K>,
        F: FnOnce() -> L,
        L: Future<Output = Result<Loaded<K, V>, Error>> + Send + 'static,
    {
        let now = self.now();
        let hash = self.hasher.hash_one(key);
        let mut shard = self.write(hash);
        let slot = slot(&mut shard, hash, key);
        // Somebody may have loaded the value between this caller's look-up and now.
        if let Some(lease) = slot.live(now)
            && match wanted {
                Wanted::Missing => true,
                Wanted::Due => !slot.is_due(now),
                Wanted::Anyway => false,
            }
        {
            return Ready::Cached(lease.value.clone());
        }
        if let Some(flight) = slot.flights().iter().find_map(|record| record.join(variant)) {
            return Ready::Joined(flight);
        }
        let id = self.flights.fetch_add(1, Ordering::Relaxed);
        let counts = variant.is_none();
        let flight = take_off(Arc::clone(self).fly(key.to_key(), id, counts, load()));
        slot.take_off(FlightRecord::new(id, variant, &flight));
        Ready::Led(flight)
    }

    /// The load and what follows from it. Runs once, whoever drives it. Only the failure of a
    /// renewal counts against the next one: a load that asked for something else says nothing
    /// about it.
    async fn fly(
        self: Arc<Self>,
        key: K,
        id: u64,
        counts: bool,
        load: impl Future<Output = Result<Loaded<K, V>, Error>>,
    ) -> Result<V, Error> {
        let outcome = load.await;
        let now = self.now();
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.write(hash);
        let slot = slot(&mut shard, hash, &key);
        slot.land(id);
        let loaded = match outcome {
            Ok(loaded) => loaded,
            Err(error) => {
                if counts {
                    slot.back_off(&error, now);
                }
                if slot.is_spent(now) {
                    remove(&mut shard, hash, &key);
                }
                return Err(error);
            }
        };
        let value = loaded.lease.value.clone();
        match loaded.key {
            None => {
                slot.fill(loaded.lease, id);
                self.make_room(&mut shard, hash, &key);
            }
            Some(actual) => {
                if slot.is_spent(now) {
                    remove(&mut shard, hash, &key);
                }
                drop(shard);
                self.store(actual, loaded.lease, id);
            }
        }
        Ok(value)
    }

    fn now(&self) -> Moment {
        Moment::of(self.clock.now())
    }

    fn store(&self, key: K, lease: Lease<V>, load: u64) {
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.write(hash);
        slot(&mut shard, hash, &key).fill(lease, load);
        self.make_room(&mut shard, hash, &key);
    }

    /// Evicts what is spent, else the entry that expires next; never the one that has just come.
    /// Entries that are being loaded stay: their number is bounded by the callers that wait for
    /// them.
    fn make_room(&self, shard: &mut Table<K, V>, hash: u64, newest: &K) {
        if shard.len() <= self.shard_capacity {
            return;
        }
        let now = self.now();
        shard.retain(|entry| !entry.slot.is_spent(now));
        while shard.len() > self.shard_capacity {
            let is_newest = |entry: &Entry<K, V>| entry.hash == hash && newest.matches(&entry.key);
            let idle = shard.iter().filter(|entry| !is_newest(entry) && !entry.slot.is_loading());
            let expiring = idle.filter_map(|entry| Some((entry.slot.lease.as_ref()?.expires_at, entry)));
            let Some((_, next)) = expiring.min_by_key(|(expires_at, _)| *expires_at) else { return };
            let (hash, key) = (next.hash, next.key.to_key());
            remove(shard, hash, &key);
        }
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Table<K, V>> {
        self.shard(hash).read()
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Table<K, V>> {
        self.shard(hash).write()
    }

    /// The table itself uses the lowest and the highest bits; these are from the middle.
    fn shard(&self, hash: u64) -> &Shard<K, V> {
        let middle = (hash >> 16) & 0xffff_ffff;
        // The upper half of the product is evenly spread, and below the number of shards.
        &self.shards[((middle * self.shards.len() as u64) >> 32) as usize]
    }
}

impl<K, V> Shard<K, V> {
    fn read(&self) -> RwLockReadGuard<'_, Table<K, V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table<K, V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of a key, made if there is none.
fn slot<'s, K: LeaseKey<K>, V: Clone, Q: LeaseKey<K>>(
    shard: &'s mut Table<K, V>,
    hash: u64,
    key: &Q,
) -> &'s mut Slot<V> {
    let entry = shard.entry(hash, |entry| key.matches(&entry.key), |entry| entry.hash);
    &mut entry.or_insert_with(|| Entry { hash, key: key.to_key(), slot: Slot::new() }).into_mut().slot
}

fn remove<K: LeaseKey<K>, V>(shard: &mut Table<K, V>, hash: u64, key: &K) {
    if let Ok(entry) = shard.find_entry(hash, |entry| key.matches(&entry.key)) {
        entry.remove();
    }
}

impl<K, V> Clone for LeaseCache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for LeaseCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseCache")
            .field("capacity", &(self.0.shard_capacity * self.0.shards.len()))
            .finish_non_exhaustive()
    }
}
