//! The test suite for stores, with stores that pass it and stores that do not.

use std::time::Duration;

use symbolon_token::{CacheStore, Error, MemoryStore, Precondition, PutOutcome, StoredEntry, conformance};
use symbolon_types::SharedClock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    NoVersions,
    IgnoresCase,
    CutsKeys,
    IgnoresPreconditions,
    RemovesUnconditionally,
    EmptiesEntries,
    KeepsRemoved,
    ConstantVersion,
}

/// A store with a defect, above a correct one.
#[derive(Debug)]
struct DefectiveStore {
    store: MemoryStore,
    defect: Defect,
}

impl DefectiveStore {
    fn key(&self, key: &str) -> String {
        match self.defect {
            Defect::IgnoresCase => key.to_lowercase(),
            Defect::CutsKeys => key.chars().take(50).collect(),
            _ => key.to_owned(),
        }
    }
}

impl CacheStore for DefectiveStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let entry = self.store.get(&self.key(key)).await?;
        Ok(entry.map(|entry| match self.defect {
            Defect::NoVersions => StoredEntry::new(entry.bytes()),
            Defect::ConstantVersion => entry.with_version("1"),
            Defect::EmptiesEntries => StoredEntry::new(&b""[..]).with_version("1"),
            _ => entry,
        }))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let precondition = match self.defect {
            Defect::IgnoresPreconditions | Defect::NoVersions => Precondition::None,
            _ => precondition,
        };
        self.store.put(&self.key(key), entry, ttl, precondition).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        let precondition = match self.defect {
            Defect::RemovesUnconditionally | Defect::NoVersions => Precondition::None,
            Defect::KeepsRemoved => return Ok(PutOutcome::Done),
            _ => precondition,
        };
        self.store.remove(&self.key(key), precondition).await
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

fn memory() -> MemoryStore {
    MemoryStore::new(SharedClock::system())
}

#[tokio::test]
async fn memory_store_conforms() {
    let report = conformance::check_store(memory()).await;
    assert!(report.holds(), "{report}");
}

#[cfg(feature = "sealed-store")]
#[tokio::test]
async fn sealed_store_conforms() {
    let key = symbolon_token::SealingKey::new("one", [1; 32]).unwrap();
    let report = conformance::check_store(symbolon_token::SealedStore::new(memory(), key)).await;
    assert!(report.holds(), "{report}");
}

#[tokio::test]
async fn defective_stores_do_not_conform() {
    for (defect, conforms) in [
        (Defect::None, true),
        (Defect::NoVersions, true),
        (Defect::IgnoresCase, false),
        (Defect::CutsKeys, false),
        (Defect::IgnoresPreconditions, false),
        (Defect::RemovesUnconditionally, false),
        (Defect::EmptiesEntries, false),
        (Defect::KeepsRemoved, false),
        (Defect::ConstantVersion, false),
    ] {
        let report = conformance::check_store(DefectiveStore { store: memory(), defect }).await;
        assert_eq!(report.holds(), conforms, "{defect:?}\n{report}");
    }
}
