//! The tables of the cache.

use std::hash::BuildHasher as _;
use std::sync::PoisonError;

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::key::LeaseKey;
use crate::slot::Slot;

pub(crate) type Table<K, V> = HashTable<CacheEntry<K, V>>;

/// A locked table. Readers are counted per thread, so that lookups of two threads do not write to
/// the same cache line.
pub(crate) struct Shard<K, V>(ShardedLock<Table<K, V>>);

/// An entry of a table. A lookup reads its first half; that of a token fits in one cache line.
#[repr(align(64))]
pub(crate) struct CacheEntry<K, V> {
    pub(crate) key: K,
    pub(crate) slot: Slot<V>,
}

impl<K, V> Shard<K, V> {
    pub(crate) fn new() -> Self {
        Self(ShardedLock::new(Table::new()))
    }

    pub(crate) fn read(&self) -> ShardedLockReadGuard<'_, Table<K, V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> ShardedLockWriteGuard<'_, Table<K, V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the slot of a key, creating it if there is none.
pub(crate) fn slot_of<'t, K: LeaseKey<K>, V: Clone, Q: LeaseKey<K>>(
    table: &'t mut Table<K, V>,
    hasher: &DefaultHashBuilder,
    hash: u64,
    key: &Q,
) -> &'t mut Slot<V> {
    let rehash = |entry: &CacheEntry<K, V>| hasher.hash_one(&entry.key);
    let entry = table.entry(hash, |entry| key.matches(&entry.key), rehash);
    &mut entry.or_insert_with(|| CacheEntry { key: key.to_key(), slot: Slot::new() }).into_mut().slot
}

pub(crate) fn remove<K: LeaseKey<K>, V>(table: &mut Table<K, V>, hash: u64, key: &K) {
    if let Ok(entry) = table.find_entry(hash, |entry| key.matches(&entry.key)) {
        entry.remove();
    }
}
