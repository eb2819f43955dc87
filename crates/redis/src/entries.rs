//! Entries in Redis, as they are written to it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use symbolon_token::{CacheStore, Error, LockOutcome, Precondition, PutOutcome, StoreLock, StoredEntry};
use symbolon_types::SteadyTime;
use tokio::runtime::Handle;

use crate::connection::Connection;
use crate::failure;
use crate::health::CommandKind;
use crate::notifications::Notification;
use crate::script::{self, VERSION_LENGTH};

/// The time for which a lock is held at most. If its process ends or is stopped, another one
/// acquires it after that.
const LEASE: Duration = Duration::from_secs(5);
/// The time after which the lock of one process counts as one without an end: its time to live was
/// removed, because no process holds a lock for longer than the lease.
const LONGEST_HOLD: Duration = LEASE.saturating_add(Duration::from_secs(1));
/// The shortest and the longest pause of a process that waits for a lock. With notifications, it is
/// the longest: they do not tell that the process with the lock has ended.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// The time after which a process subscribes to notifications. A lock that is held for less is not
/// worth a connection.
const SUBSCRIBE_AFTER: Duration = Duration::from_millis(20);
/// The share of the time waited so far by which a process may wait too long.
const LATENESS: u32 = 10;

/// The entries of a Redis server or cluster. The value of an entry begins with its version, which
/// is random.
#[derive(Clone, Debug)]
pub(crate) struct RedisEntries(Arc<Connection>);

type Version = [u8; VERSION_LENGTH];

impl RedisEntries {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    async fn write(&self, kind: CommandKind, command: &Cmd) -> Result<PutOutcome, Error> {
        // A script returns zero if its condition does not hold.
        match self.0.call(kind, command).await? {
            Value::Int(0) => Ok(PutOutcome::Conflict),
            _ => Ok(PutOutcome::Done),
        }
    }
}

impl CacheStore for RedisEntries {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let Value::BulkString(value) = self.0.call(CommandKind::Read, &script::get(key)).await? else {
            return Ok(None);
        };
        let Some((version, bytes)) = value.split_first_chunk() else { return Ok(None) };
        Ok(Some(StoredEntry::new(bytes).with_version(text_of(*version))))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let value = [&random()?[..], entry].concat();
        let command = match precondition {
            Precondition::None => script::put(key, &value, ttl),
            Precondition::Absent => script::put_unchanged(key, &value, ttl, b""),
            Precondition::Unchanged(version) => match version_of(version) {
                Some(version) => script::put_unchanged(key, &value, ttl, &version),
                None => return Ok(PutOutcome::Conflict),
            },
            Precondition::Locked(lock) => match lock.fence().and_then(Fence::parse) {
                Some(Fence { owner, seen }) => {
                    let seen = seen.as_ref().map_or(&b""[..], |seen| seen);
                    script::put_locked(key, &value, ttl, seen, &owner)
                }
                None => return Ok(PutOutcome::Conflict),
            },
            // A condition that this version does not have cannot hold.
            _ => return Ok(PutOutcome::Conflict),
        };
        self.write(CommandKind::Write, &command).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        let command = match precondition {
            Precondition::None => {
                self.0.call(CommandKind::Remove, &script::remove(key)).await?;
                return Ok(PutOutcome::Done);
            }
            Precondition::Absent => script::remove_unchanged(key, b""),
            Precondition::Unchanged(version) => match version_of(version) {
                Some(version) => script::remove_unchanged(key, &version),
                None => return Ok(PutOutcome::Conflict),
            },
            _ => return Ok(PutOutcome::Conflict),
        };
        self.write(CommandKind::Remove, &command).await
    }

    /// Waits for a notification that the lock was released or the entry written; polls where there
    /// are none.
    async fn lock(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error> {
        let seen = read.and_then(version_of);
        let owner = random()?;
        let read = seen.as_ref().map_or(&b""[..], |seen| seen);
        let clock = self.0.clock();
        let began = clock.steady_now();
        // Releases the lock also if the caller gives up before the reply.
        let mut guard =
            LockGuard { connection: Arc::clone(&self.0), key: key.to_owned(), owner, may_be_held: false };
        let mut other: Option<(Vec<u8>, SteadyTime)> = None;
        let (mut notifications, mut has_subscribed) = (None, false);
        loop {
            let now = clock.steady_now();
            let endless = other.as_ref().filter(|(_, since)| now.since(*since) > LONGEST_HOLD);
            let endless = endless.map_or(&b""[..], |(holder, _)| holder);
            let command = script::lock(key, read, &owner, LEASE, endless);
            guard.may_be_held = true;
            let reply = self.0.call(CommandKind::Lock, &command).await;
            guard.may_be_held = matches!(reply, Ok(Value::Int(1)));
            match reply? {
                Value::Int(1) => break,
                Value::Int(2) => return Ok(LockOutcome::Changed),
                Value::BulkString(holder) if other.as_ref().is_none_or(|(known, _)| *known != holder) => {
                    other = Some((holder, now));
                }
                _ => {}
            }
            let waited = clock.steady_now().since(began);
            if waited >= SUBSCRIBE_AFTER && !has_subscribed {
                has_subscribed = true;
                notifications = self.0.notifications(&script::lock_key(key)).await;
                if notifications.is_some() {
                    // The lock may have been released in the meantime.
                    continue;
                }
            }
            let Some(subscription) = &mut notifications else {
                clock.sleep((waited / LATENESS).clamp(PAUSES.0, PAUSES.1)).await;
                continue;
            };
            match subscription.next(clock, PAUSES.1).await {
                Notification::Written => return Ok(LockOutcome::Changed),
                Notification::Released | Notification::None => {}
                Notification::Lost => notifications = None,
            }
        }
        let fence = Fence { owner, seen }.text();
        Ok(LockOutcome::Acquired(StoreLock::new(guard).with_fence(fence)))
    }

    fn is_local_to_machine(&self) -> bool {
        false
    }
}

/// The holder of a lock, and the version of the entry when it was acquired.
struct Fence {
    owner: Version,
    seen: Option<Version>,
}

impl Fence {
    fn text(&self) -> String {
        format!("{}:{}", text_of(self.owner), self.seen.map(text_of).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let (owner, seen) = text.split_once(':')?;
        Some(Self { owner: version_of(owner)?, seen: version_of(seen) })
    }
}

/// Releases a lock in the background when it is dropped. Without a runtime, its lease ends it.
struct LockGuard {
    connection: Arc<Connection>,
    key: String,
    owner: Version,
    /// False if another process holds the lock.
    may_be_held: bool,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.may_be_held {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (connection, command) = (Arc::clone(&self.connection), script::unlock(&self.key, &self.owner));
        drop(runtime.spawn(async move { connection.call(CommandKind::Lock, &command).await }));
    }
}

fn random() -> Result<Version, Error> {
    let mut random = [0; VERSION_LENGTH];
    getrandom::fill(&mut random).map_err(|_| failure::no_random())?;
    Ok(random)
}

fn text_of(version: Version) -> String {
    format!("{:032x}", u128::from_be_bytes(version))
}

fn version_of(text: &str) -> Option<Version> {
    Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
}
