//! Whose turn it is, among processes.

use std::fs::File;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use symbolon_types::{Error, ErrorKind, SharedClock};

use super::PrivateDir;
use crate::background::off_the_async_threads;

/// The pause before the second look, and the longest between two.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// An advisory lock on a file in a [`PrivateDir`] (flock(2)), held until it is dropped or until
/// this process ends in any way.
///
/// It keeps out whoever takes it, in this process or in another; nobody has to. The file is empty
/// and stays: two processes that each lock a file of their own making under one name would both go on.
#[derive(Debug)]
pub struct FileLock {
    /// Closing it, as every end of the process does, releases the lock.
    _file: File,
}

impl FileLock {
    /// Waits for the lock, up to `patience` on this clock.
    ///
    /// It looks again every fiftieth of a second or sooner, and does not wait in the kernel: a thread
    /// that waits there cannot be called back, neither by a caller who gives up nor by a runtime
    /// that ends. Dropping the future ends the wait.
    ///
    /// # Errors
    /// `store_locked`, which is transient, when somebody else still holds it; `store_unusable` when
    /// the file system fails.
    pub async fn acquire(
        dir: &PrivateDir,
        name: &str,
        clock: &SharedClock,
        patience: Duration,
    ) -> Result<Self, Error> {
        let (mut waited, mut pause) = (Duration::ZERO, PAUSES.0);
        loop {
            let (dir, file) = (dir.clone(), name.to_owned());
            if let Some(lock) = off_the_async_threads(move || Self::try_acquire(&dir, &file)).await?? {
                if !waited.is_zero() {
                    tracing::debug!(waited_ms = waited.as_millis() as u64, "another process held the lock");
                }
                return Ok(lock);
            }
            if waited >= patience {
                return Err(held_too_long(waited));
            }
            clock.sleep(pause).await;
            waited += pause;
            pause = PAUSES.1.min(pause * 2);
        }
    }

    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn try_acquire(dir: &PrivateDir, name: &str) -> Result<Option<Self>, Error> {
        let file = dir.open_lock_file(name)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(dir.failed("lock", name, errno.into())),
            }
        }
    }
}

fn held_too_long(waited: Duration) -> Error {
    let seconds = waited.as_secs();
    let summary = format!("another process held the lock of the store for more than {seconds} seconds");
    Error::new(ErrorKind::Environment, "store_locked", summary)
        .with_transient(true)
        .with_advice("find out what holds it (`fuser -v` on the lock file) and why it does not go on")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use symbolon_types::ManualClock;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn dir() -> (tempfile::TempDir, PrivateDir) {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("store")).unwrap();
        (parent, dir)
    }

    #[tokio::test]
    async fn one_at_a_time_holds_a_lock() {
        let (_parent, dir) = dir();
        let first = FileLock::try_acquire(&dir, "lock").unwrap();
        assert!(first.is_some() && FileLock::try_acquire(&dir, "lock").unwrap().is_none());
        assert!(FileLock::try_acquire(&dir, "another").unwrap().is_some());
        drop(first);
        assert!(FileLock::try_acquire(&dir, "lock").unwrap().is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_the_lock_when_it_is_free_and_holds_up_nobody() {
        let (_parent, dir) = dir();
        let held = FileLock::try_acquire(&dir, "lock").unwrap().unwrap();
        let clock = ManualClock::new();
        let shared = SharedClock::from(&clock);
        let mut waiting = Box::pin(FileLock::acquire(&dir, "lock", &shared, PATIENCE));
        // This runtime has one thread: if waiting blocked it, nothing here would go on.
        for _ in 0..3 {
            while clock.sleepers() == 0 {
                assert!((&mut waiting).now_or_never().is_none());
                tokio::task::yield_now().await;
            }
            clock.advance(PAUSES.1);
        }
        drop(held);
        while clock.advance_to_next().is_some() {}
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn patience_ends() {
        let (_parent, dir) = dir();
        let _held = FileLock::try_acquire(&dir, "lock").unwrap().unwrap();
        let clock = ManualClock::new();
        let began = symbolon_types::Clock::now(&clock);
        let shared = SharedClock::from(&clock);
        let mut waiting = Box::pin(FileLock::acquire(&dir, "lock", &shared, PATIENCE));
        let error = loop {
            match (&mut waiting).now_or_never() {
                Some(outcome) => break outcome.unwrap_err(),
                None => {
                    clock.advance_to_next();
                    tokio::task::yield_now().await;
                }
            }
        };
        assert_eq!((error.code(), error.is_transient()), ("store_locked", true));
        let waited = symbolon_types::Clock::now(&clock).duration_since(began).unwrap();
        assert!(waited >= PATIENCE && waited < PATIENCE + 2 * PAUSES.1, "{waited:?}");
    }
}
