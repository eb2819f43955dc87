//! A test suite for implementors of [`CacheStore`] (feature `conformance`).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use symbolon_transport::conformance::ConformanceReport;

use super::cache_store::{CacheStore, LockOutcome, Precondition, PutOutcome, StoreLock, StoredEntry};

type Case = Result<(), String>;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// The number of writers at the same time.
const WRITERS: u8 = 8;

/// Runs all cases against a store. It must be empty, and it may keep entries of the suite.
///
/// A store without versions ignores preconditions; the cases about them are then left out, and
/// those about locks if the store has none. Delays
/// and expiry are not covered: an entry *can* be removed after its time.
///
/// ```
/// # use symbolon_token::{MemoryStore, conformance};
/// # use symbolon_types::SharedClock;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = conformance::check_store(MemoryStore::new(SharedClock::system())).await;
/// assert!(report.holds(), "{report}");
/// # }
/// ```
pub async fn check_store(store: impl CacheStore) -> ConformanceReport {
    let mut cases = vec![
        ("a missing entry is none", missing_is_none(&store).await),
        ("an entry is returned as it was written", entry_is_unchanged(&store).await),
        ("each key has its own entry", keys_are_separate(&store).await),
        ("a write replaces the entry", write_replaces(&store).await),
        ("a removed entry is gone", removed_is_gone(&store).await),
        ("removing a missing entry succeeds", remove_of_missing(&store).await),
        ("the longest time to live is accepted", longest_ttl(&store).await),
    ];
    match has_versions(&store).await {
        Ok(true) => cases.extend([
            ("each write changes the version", version_changes(&store).await),
            ("a write to an absent key needs its absence", absent_precondition(&store).await),
            ("a write needs the version that was read", version_precondition(&store).await),
            ("a removal needs the version that was read", remove_precondition(&store).await),
            ("one of several writers to an absent key succeeds", concurrent_writers(&store).await),
        ]),
        Ok(false) => {}
        Err(wrong) => cases.push(("an entry has a version or none", Err(wrong))),
    }
    match acquire(&store, "locked").await {
        Ok(Some(lock)) => cases.extend([
            ("the holder of a lock writes", holder_writes(&store, lock).await),
            ("a lock that was lost writes nothing", lost_lock(&store).await),
        ]),
        Ok(None) => {}
        Err(wrong) => cases.push(("a lock is acquired, or the store has none", Err(wrong))),
    }
    ConformanceReport::new(cases)
}

async fn get(store: &impl CacheStore, key: &str) -> Result<Option<StoredEntry>, String> {
    store.get(key).await.map_err(|error| error.to_string())
}

async fn get_some(store: &impl CacheStore, key: &str) -> Result<StoredEntry, String> {
    get(store, key).await?.ok_or_else(|| format!("the entry under {key} is missing"))
}

async fn version(store: &impl CacheStore, key: &str) -> Result<String, String> {
    let entry = get_some(store, key).await?;
    entry.version().map(str::to_owned).ok_or_else(|| "an entry has no version, others have".to_owned())
}

async fn put_if(
    store: &impl CacheStore,
    key: &str,
    entry: &[u8],
    precondition: Precondition<'_>,
) -> Result<PutOutcome, String> {
    store.put(key, entry, HOUR, precondition).await.map_err(|error| error.to_string())
}

async fn put(store: &impl CacheStore, key: &str, entry: &[u8]) -> Case {
    let outcome = put_if(store, key, entry, Precondition::None).await?;
    expect(outcome == PutOutcome::Done, "a write without precondition was a conflict")
}

async fn remove_if(
    store: &impl CacheStore,
    key: &str,
    precondition: Precondition<'_>,
) -> Result<PutOutcome, String> {
    store.remove(key, precondition).await.map_err(|error| error.to_string())
}

fn expect(holds: bool, wrong: &str) -> Case {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

async fn holds(store: &impl CacheStore, key: &str, expected: &[u8]) -> Case {
    let entry = get_some(store, key).await?;
    expect(entry.bytes() == expected, &format!("the entry under {key} differs"))
}

async fn missing_is_none(store: &impl CacheStore) -> Case {
    expect(get(store, "missing").await?.is_none(), "there is an entry")
}

/// With every byte, and of the size of a large token.
async fn entry_is_unchanged(store: &impl CacheStore) -> Case {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    for entry in [&b"x"[..], &every_byte, &every_byte.repeat(256)] {
        put(store, "unchanged", entry).await?;
        holds(store, "unchanged", entry).await?;
    }
    Ok(())
}

/// Including keys that differ in case only, that begin with another key, and of the greatest
/// length.
async fn keys_are_separate(store: &impl CacheStore) -> Case {
    let long = "Az09-_:x".repeat(7) + "Az09";
    let keys = ["Key", "key", "KEY", "key:", "key-1", "key_1", "ke", &long, &long[..59]];
    for key in keys {
        put(store, key, key.as_bytes()).await?;
    }
    for key in keys {
        holds(store, key, key.as_bytes()).await?;
    }
    remove_if(store, "key", Precondition::None).await?;
    for key in keys.iter().filter(|key| **key != "key") {
        holds(store, key, key.as_bytes()).await?;
    }
    Ok(())
}

async fn write_replaces(store: &impl CacheStore) -> Case {
    put(store, "replaced", b"a longer entry").await?;
    put(store, "replaced", b"short").await?;
    holds(store, "replaced", b"short").await
}

async fn removed_is_gone(store: &impl CacheStore) -> Case {
    put(store, "removed", b"entry").await?;
    let outcome = remove_if(store, "removed", Precondition::None).await?;
    expect(outcome == PutOutcome::Done, "the removal was a conflict")?;
    expect(get(store, "removed").await?.is_none(), "the entry is still there")?;
    put(store, "removed", b"again").await?;
    holds(store, "removed", b"again").await
}

async fn remove_of_missing(store: &impl CacheStore) -> Case {
    let outcome = remove_if(store, "never written", Precondition::None).await?;
    expect(outcome == PutOutcome::Done, "it was a conflict")
}

async fn longest_ttl(store: &impl CacheStore) -> Case {
    let put = store.put("longest", b"entry", Duration::MAX, Precondition::None).await;
    put.map_err(|error| error.to_string())?;
    holds(store, "longest", b"entry").await
}

async fn has_versions(store: &impl CacheStore) -> Result<bool, String> {
    put(store, "versioned", b"entry").await?;
    Ok(get_some(store, "versioned").await?.version().is_some())
}

/// Even if the bytes are the same, and after a removal.
async fn version_changes(store: &impl CacheStore) -> Case {
    let mut seen = Vec::new();
    for is_removed in [false, false, true] {
        if is_removed {
            remove_if(store, "counted", Precondition::None).await?;
        }
        put(store, "counted", b"entry").await?;
        let version = version(store, "counted").await?;
        expect(!seen.contains(&version), "two writes have the same version")?;
        seen.push(version);
    }
    Ok(())
}

async fn absent_precondition(store: &impl CacheStore) -> Case {
    let first = put_if(store, "absent", b"first", Precondition::Absent).await?;
    expect(first == PutOutcome::Done, "a write to an absent key was a conflict")?;
    let second = put_if(store, "absent", b"second", Precondition::Absent).await?;
    expect(second == PutOutcome::Conflict, "a write to an existing key was no conflict")?;
    holds(store, "absent", b"first").await
}

async fn version_precondition(store: &impl CacheStore) -> Case {
    let key = "unchanged-since";
    put(store, key, b"first").await?;
    let first = version(store, key).await?;
    let outcome = put_if(store, key, b"second", Precondition::Unchanged(&first)).await?;
    expect(outcome == PutOutcome::Done, "a write with the current version was a conflict")?;
    let outcome = put_if(store, key, b"third", Precondition::Unchanged(&first)).await?;
    expect(outcome == PutOutcome::Conflict, "a write with an old version was no conflict")?;
    holds(store, key, b"second").await?;
    remove_if(store, key, Precondition::None).await?;
    let outcome = put_if(store, key, b"fourth", Precondition::Unchanged(&first)).await?;
    expect(outcome == PutOutcome::Conflict, "a write with the version of a removed entry was no conflict")?;
    expect(get(store, key).await?.is_none(), "a write that was a conflict left an entry")
}

async fn remove_precondition(store: &impl CacheStore) -> Case {
    let key = "removed-since";
    put(store, key, b"first").await?;
    let first = version(store, key).await?;
    put(store, key, b"second").await?;
    let outcome = remove_if(store, key, Precondition::Unchanged(&first)).await?;
    expect(outcome == PutOutcome::Conflict, "a removal with an old version was no conflict")?;
    holds(store, key, b"second").await?;
    let second = version(store, key).await?;
    let outcome = remove_if(store, key, Precondition::Unchanged(&second)).await?;
    expect(outcome == PutOutcome::Done, "a removal with the current version was a conflict")?;
    expect(get(store, key).await?.is_none(), "the entry is still there")
}

async fn concurrent_writers(store: &impl CacheStore) -> Case {
    let writes = (0..WRITERS)
        .map(|writer| async move { put_if(store, "contended", &[writer], Precondition::Absent).await });
    let outcomes = join_all(writes.map(Box::pin).collect()).await;
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners: Vec<_> =
        (0..WRITERS).zip(outcomes).filter(|(_, outcome)| *outcome == PutOutcome::Done).collect();
    match winners[..] {
        [(winner, _)] => holds(store, "contended", &[winner]).await,
        _ => Err(format!("{} of {WRITERS} writers succeeded", winners.len())),
    }
}

/// Waits for the lock of a key. `None` if the store has no locks.
async fn acquire(store: &impl CacheStore, key: &str) -> Result<Option<StoreLock>, String> {
    loop {
        let entry = get(store, key).await?;
        let read = entry.as_ref().and_then(StoredEntry::version);
        match store.lock(key, read).await.map_err(|error| error.to_string())? {
            LockOutcome::Acquired(lock) => return Ok(Some(lock)),
            LockOutcome::Changed => {}
            LockOutcome::Unsupported => return Ok(None),
        }
    }
}

async fn acquire_again(store: &impl CacheStore, key: &str) -> Result<StoreLock, String> {
    acquire(store, key).await?.ok_or_else(|| "the store has locks, and then none".to_owned())
}

async fn holder_writes(store: &impl CacheStore, lock: StoreLock) -> Case {
    for entry in [&b"first"[..], b"second"] {
        let outcome = put_if(store, "locked", entry, Precondition::Locked(&lock)).await?;
        expect(outcome == PutOutcome::Done, "a write of the holder was a conflict")?;
        holds(store, "locked", entry).await?;
    }
    drop(lock);
    // The lock is free again.
    acquire_again(store, "locked").await.map(drop)
}

async fn lost_lock(store: &impl CacheStore) -> Case {
    let first = acquire_again(store, "lost").await?;
    let Some(fence) = first.fence().map(str::to_owned) else { return Ok(()) };
    drop(first);
    let second = acquire_again(store, "lost").await?;
    let lost = StoreLock::new(()).with_fence(fence);
    let outcome = put_if(store, "lost", b"first", Precondition::Locked(&lost)).await?;
    expect(outcome == PutOutcome::Conflict, "a write with a lock that another holds was no conflict")?;
    expect(get(store, "lost").await?.is_none(), "a write that was a conflict left an entry")?;
    let outcome = put_if(store, "lost", b"second", Precondition::Locked(&second)).await?;
    expect(outcome == PutOutcome::Done, "a write of the holder was a conflict")?;
    let outcome = put_if(store, "lost", b"first", Precondition::Locked(&lost)).await?;
    expect(outcome == PutOutcome::Conflict, "a write with a lock that was lost was no conflict")?;
    holds(store, "lost", b"second").await
}

/// Runs futures at the same time.
async fn join_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                *output = Some(ready);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
