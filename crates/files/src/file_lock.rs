//! Locks between processes.

use std::fs::File;
use std::io;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Advisory lock (flock(2)) on a file in a [`PrivateDir`](super::PrivateDir), held until it is
/// dropped or the process ends.
///
/// It excludes other holders in this process and in other processes. The lock file is empty and is
/// never removed: a process that creates a new file under the same name would not be excluded.
#[derive(Debug)]
pub struct FileLock {
    /// Closing the file releases the lock, however the process ends.
    _file: File,
}

impl FileLock {
    /// Locks an open file; returns `None` if the lock is held elsewhere.
    pub(super) fn try_lock(file: File) -> io::Result<Option<Self>> {
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
