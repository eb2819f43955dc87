//! A store in the memory of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_types::{Error, SharedClock, SteadyTime};
use zeroize::Zeroizing;

use super::cache_store::{CacheStore, Precondition, PutOutcome, StoredEntry};

/// A [`CacheStore`] in the memory of this process, with support for preconditions: for tests, and
/// as an example. Clones share the entries.
///
/// The number of entries is not limited. Expired entries are removed at each write.
///
/// ```
/// # use symbolon_token::{MemoryStore, TokenCache};
/// # use symbolon_types::{Context, SharedClock};
/// let clock = SharedClock::system();
/// let store = MemoryStore::new(clock.clone());
/// let cache = TokenCache::new(1000, &Context::default()).with_store(store.clone());
/// assert!(store.is_empty());
/// ```
#[derive(Clone)]
#[must_use]
pub struct MemoryStore {
    entries: Arc<Mutex<MemoryEntries>>,
    clock: SharedClock,
    is_local: bool,
}

#[derive(Default)]
struct MemoryEntries {
    entries: HashMap<String, MemoryEntry>,
    writes: u64,
}

struct MemoryEntry {
    bytes: Zeroizing<Vec<u8>>,
    version: String,
    until: SteadyTime,
}

impl MemoryStore {
    /// Creates an empty store with this clock.
    pub fn new(clock: SharedClock) -> Self {
        Self { entries: Arc::default(), clock, is_local: true }
    }

    /// Makes [`is_local_to_machine`](CacheStore::is_local_to_machine) return false.
    pub fn as_if_shared(mut self) -> Self {
        self.is_local = false;
        self
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().entries.len()
    }

    /// Returns `true` if the store is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the keys of the entries, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.entries().entries.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    fn entries(&self) -> MutexGuard<'_, MemoryEntries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts or removes an entry, if the precondition holds.
    fn write(
        &self,
        key: &str,
        entry: Option<(&[u8], Duration)>,
        precondition: Precondition<'_>,
    ) -> PutOutcome {
        let now = self.clock.steady_now();
        let mut memory = self.entries();
        memory.entries.retain(|_, held| now < held.until);
        let version = memory.entries.get(key).map(|held| held.version.as_str());
        let is_satisfied = match precondition {
            Precondition::None | Precondition::Locked(_) => true,
            Precondition::Absent => version.is_none(),
            Precondition::Unchanged(expected) => version == Some(expected),
        };
        if !is_satisfied {
            return PutOutcome::Conflict;
        }
        memory.entries.remove(key);
        if let Some((bytes, ttl)) = entry {
            memory.writes += 1;
            let (bytes, version) = (Zeroizing::new(bytes.to_vec()), memory.writes.to_string());
            let held = MemoryEntry { bytes, version, until: now.plus(ttl) };
            memory.entries.insert(key.to_owned(), held);
        }
        PutOutcome::Done
    }
}

impl CacheStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let now = self.clock.steady_now();
        let memory = self.entries();
        let held = memory.entries.get(key).filter(|held| now < held.until);
        Ok(held.map(|held| StoredEntry { bytes: held.bytes.clone(), version: Some(held.version.clone()) }))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        Ok(self.write(key, Some((entry, ttl)), precondition))
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        Ok(self.write(key, None, precondition))
    }

    fn is_local_to_machine(&self) -> bool {
        self.is_local
    }
}

// Hides keys and entries.
symbolon_types::debug_fields!(MemoryStore: is_local);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use symbolon_types::ManualClock;

    use super::*;

    fn put(store: &MemoryStore, precondition: Precondition<'_>) -> PutOutcome {
        store.put("k", b"e", Duration::from_secs(60), precondition).now_or_never().unwrap().unwrap()
    }

    fn version(store: &MemoryStore) -> Option<String> {
        let entry = store.get("k").now_or_never().unwrap().unwrap()?;
        entry.version().map(str::to_owned)
    }

    #[test]
    fn write_requires_its_precondition() {
        let manual_clock = ManualClock::new();
        let store = MemoryStore::new(SharedClock::from(&manual_clock));
        assert_eq!(put(&store, Precondition::Unchanged("1")), PutOutcome::Conflict);
        assert_eq!(put(&store, Precondition::Absent), PutOutcome::Done);
        assert_eq!(put(&store, Precondition::Absent), PutOutcome::Conflict);
        let first = version(&store).unwrap();
        assert_eq!(put(&store, Precondition::Unchanged(&first)), PutOutcome::Done);
        assert_eq!(put(&store, Precondition::Unchanged(&first)), PutOutcome::Conflict);
        assert_eq!(put(&store, Precondition::None), PutOutcome::Done);
        let remove = |precondition| store.remove("k", precondition).now_or_never().unwrap().unwrap();
        assert_eq!(remove(Precondition::Unchanged(&first)), PutOutcome::Conflict);
        assert!(version(&store).is_some());
        manual_clock.advance(Duration::from_secs(60));
        assert_eq!((version(&store), store.len()), (None, 1));
        assert_eq!(put(&store, Precondition::Absent), PutOutcome::Done);
        assert_eq!(remove(Precondition::None), PutOutcome::Done);
        assert!(store.is_empty());
    }
}
