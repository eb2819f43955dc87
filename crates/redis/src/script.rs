//! Commands and scripts. A script runs as one step in Redis.

use std::time::Duration;

use redis::{Cmd, cmd};

/// The length of a version, with which each value begins.
pub(crate) const VERSION_LENGTH: usize = 16;
/// The maximum length of a value that is read. A longer one is cut off, and then not usable.
const MAX_LENGTH: usize = 256 * 1024;
/// The longest time to live. Redis refuses one whose end does not fit into its clock.
const LONGEST_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Returns the version at the beginning of a value, or the process that holds a lock. A value that
/// is too short or of another type, which this crate has not written, counts as missing.
macro_rules! with_first {
    ($script:literal) => {
        concat!(
            "\
local function first(key)
  local value = redis.pcall('GETRANGE', key, 0, 15)
  if type(value) == 'table' then
    if string.find(value.err, 'WRONGTYPE', 1, true) then return '' end
    return redis.call('GETRANGE', key, 0, 15)
  end
  return #value == 16 and value or ''
end
",
            $script
        )
    };
}

/// Replaces an entry whose version is the expected one; the empty version is that of no entry.
/// After a lost response the command is sent again, so the new version counts as written.
const PUT_UNCHANGED: &str = with_first!(
    "\
local current = first(KEYS[1])
if current == string.sub(ARGV[2], 1, 16) then return 1 end
if current ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1"
);

/// Replaces an entry if the caller holds the lock, or if no other process has acquired it or has
/// written since. Processes that wait are notified, if the user may publish.
const PUT_LOCKED: &str = with_first!(
    "\
local current = first(KEYS[1])
if current == string.sub(ARGV[2], 1, 16) then return 1 end
local holder = first(KEYS[2])
if holder ~= ARGV[4] then
  if holder ~= '' then return 0 end
  if current ~= '' and current ~= ARGV[1] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.pcall('PUBLISH', KEYS[2], 'written')
return 1"
);

/// Removes an entry whose version is the expected one.
const REMOVE: &str = with_first!(
    "\
if first(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1"
);

/// Acquires a lock (1), unless the entry was written since it was read (2), or another process
/// holds the lock, which is returned. A lock of the process in the last argument has no end.
const LOCK: &str = with_first!(
    "\
local current = first(KEYS[1])
if current ~= '' and current ~= ARGV[1] then return 2 end
local holder = first(KEYS[2])
if holder == ARGV[2] then return 1 end
if holder ~= '' and holder ~= ARGV[4] then return holder end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1"
);

/// Releases a lock that the caller still holds, and notifies processes that wait.
const UNLOCK: &str = with_first!(
    "\
if first(KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', KEYS[1], 'free')
end
return 1"
);
/// The notification that an entry was written.
pub(crate) const WRITTEN: &[u8] = b"written";

/// Returns the key of the lock of an entry, which is also the channel of its notifications. Both
/// keys are in one slot of a cluster, which the part in braces selects (Redis cluster
/// specification, "Hash tags").
pub(crate) fn lock_key(key: &str) -> String {
    format!("{key}:lock")
}

pub(crate) fn get(key: &str) -> Cmd {
    let mut get = cmd("GETRANGE");
    get.arg(key).arg(0).arg(MAX_LENGTH - 1);
    get
}

pub(crate) fn put(key: &str, value: &[u8], ttl: Duration) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(value).arg("PX").arg(millis(ttl));
    set
}

pub(crate) fn put_unchanged(key: &str, value: &[u8], ttl: Duration, expected: &[u8]) -> Cmd {
    let mut eval = script(PUT_UNCHANGED, &[key]);
    eval.arg(expected).arg(value).arg(millis(ttl));
    eval
}

pub(crate) fn put_locked(key: &str, value: &[u8], ttl: Duration, seen: &[u8], owner: &[u8]) -> Cmd {
    let mut eval = script(PUT_LOCKED, &[key, &lock_key(key)]);
    eval.arg(seen).arg(value).arg(millis(ttl)).arg(owner);
    eval
}

pub(crate) fn remove(key: &str) -> Cmd {
    let mut del = cmd("DEL");
    del.arg(key);
    del
}

pub(crate) fn remove_unchanged(key: &str, expected: &[u8]) -> Cmd {
    let mut eval = script(REMOVE, &[key]);
    eval.arg(expected);
    eval
}

pub(crate) fn lock(key: &str, read: &[u8], owner: &[u8], lease: Duration, endless: &[u8]) -> Cmd {
    let mut eval = script(LOCK, &[key, &lock_key(key)]);
    eval.arg(read).arg(owner).arg(millis(lease)).arg(endless);
    eval
}

pub(crate) fn unlock(key: &str, owner: &[u8]) -> Cmd {
    let mut eval = script(UNLOCK, &[&lock_key(key)]);
    eval.arg(owner);
    eval
}

/// The text of a script is sent each time: a script that Redis has loaded is lost at a restart.
fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(text).arg(keys.len()).arg(keys);
    eval
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.min(LONGEST_TTL).as_millis()).unwrap_or(u64::MAX).max(1)
}
