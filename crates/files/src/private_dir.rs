//! Folder that only this user can use.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use symbolon_types::{Error, ErrorKind, SharedClock, printable};
use zeroize::Zeroizing;

use super::file_lock::FileLock;
use crate::blocking::spawn_blocking;

/// Size limit of a file. A key takes two kilobytes, a token of a user with many groups up to 64.
const MAX_FILE_SIZE: u64 = 128 * 1024;
/// Permissions of users other than the owner.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
/// Maximum number of names for files that are set aside, of each file.
const MAX_SET_ASIDE: usize = 9;
/// Pause after the first failed attempt to lock, and the maximum pause between attempts.
const LOCK_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Folder with mode 0700 that belongs to the user of this process. Its files have mode 0600.
///
/// The folder is opened once, by descriptor: renaming it, or replacing it with a symbolic link, has
/// no effect on an open `PrivateDir`. Clones share the descriptor.
#[derive(Clone)]
pub struct PrivateDir(Arc<OpenFolder>);

struct OpenFolder {
    folder: OwnedFd,
    path: PathBuf,
}

/// Result of reading a file in a [`PrivateDir`].
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller has to handle each of the three")]
pub enum StoredFile {
    /// There is no file with this name.
    Absent,
    /// Content of the file, overwritten in memory when dropped.
    Content(Zeroizing<Vec<u8>>),
    /// A file that must not be used.
    Unusable(FileProblem),
}

/// Reason why a file must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileProblem {
    /// The name belongs to a symbolic link, a folder, a pipe or a device.
    NotAFile,
    /// The file belongs to another user.
    ForeignOwner,
    /// Users other than the owner may read or write the file.
    OpenToOthers,
    /// This user may not read the file.
    Unreadable,
    /// The file is longer than 128 KiB.
    TooLong,
}

/// Completed step of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplaceStep {
    Begun,
    Created,
    Written,
    Synced,
    Renamed,
}

impl PrivateDir {
    /// Opens the folder; creates it, with its parents, if it is missing.
    ///
    /// # Errors
    /// `store_unusable` when the folder cannot be created or opened, is a symbolic link, belongs to
    /// another user, or is open to others. Its permissions are not repaired, because another user
    /// may have changed its content already.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let folder =
            open_folder(&path).map_err(|error| unusable(&path, "could not open").with_source(error))?;
        let found = rustix::fs::fstat(&folder)
            .map_err(|errno| unusable(&path, "could not examine").with_source(io::Error::from(errno)))?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(unusable(&path, "refused to use").with_advice(
                "the folder belongs to another user: choose one that belongs to the user of this process",
            ));
        }
        if Mode::from_raw_mode(found.st_mode).intersects(OTHERS) {
            return Err(unusable(&path, "refused to use").with_advice(
                "the folder is open to other users: check its content, then run `chmod 700` on it",
            ));
        }
        Ok(Self(Arc::new(OpenFolder { folder, path })))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reads a file. While it is being replaced, either its old or its new content is returned.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn read(&self, name: &str) -> Result<StoredFile, Error> {
        self.try_read(name).map_err(|error| self.failed("read", name, error))
    }

    fn try_read(&self, name: &str) -> io::Result<StoredFile> {
        // Without `NONBLOCK`, opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(StoredFile::Absent),
            // A symbolic link; or a socket, which cannot be opened.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO) => {
                return Ok(StoredFile::Unusable(FileProblem::NotAFile));
            }
            Err(Errno::ACCESS | Errno::PERM) => return Ok(StoredFile::Unusable(FileProblem::Unreadable)),
            Err(errno) => return Err(errno.into()),
        };
        if let Some(problem) = file_problem(&rustix::fs::fstat(&file)?) {
            return Ok(StoredFile::Unusable(problem));
        }
        // Allocated in full size: growing would leave copies of a key in memory.
        let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE_SIZE as usize + 1));
        File::from(file).take(MAX_FILE_SIZE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE_SIZE {
            return Ok(StoredFile::Unusable(FileProblem::TooLong));
        }
        Ok(StoredFile::Content(content))
    }

    /// Writes a file, replacing an existing one atomically: readers, also after a crash, find
    /// either the complete old file or the complete new one.
    ///
    /// The lock protects the temporary file. Any lock in this folder works, if all writers of this
    /// name use the same one.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn replace(&self, name: &str, content: &[u8], lock: &FileLock) -> Result<(), Error> {
        self.replace_in_steps(name, content, lock, |_| ())
    }

    pub(super) fn replace_in_steps(
        &self,
        name: &str,
        content: &[u8],
        _lock: &FileLock,
        on_step: impl Fn(ReplaceStep),
    ) -> Result<(), Error> {
        self.try_replace(name, content, on_step).map_err(|error| self.failed("write", name, error))
    }

    fn try_replace(&self, name: &str, content: &[u8], on_step: impl Fn(ReplaceStep)) -> io::Result<()> {
        let folder = self.0.folder.as_fd();
        let temporary = format!("{name}.new");
        // Left behind by a process that was killed during a replacement.
        match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => (),
            // A folder, for which some systems return `PERM`.
            Err(Errno::ISDIR | Errno::PERM) => self.try_set_aside(&temporary)?,
            Err(errno) => return Err(errno.into()),
        }
        on_step(ReplaceStep::Begun);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        on_step(ReplaceStep::Created);
        let mut file = File::from(file);
        let mut write = || {
            file.write_all(content)?;
            on_step(ReplaceStep::Written);
            file.sync_all()?;
            on_step(ReplaceStep::Synced);
            Ok(rustix::fs::renameat(folder, &temporary, folder, name)?)
        };
        write().inspect_err(|_: &io::Error| {
            // On a full file system it would take the space of other files.
            let _removed = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
        })?;
        on_step(ReplaceStep::Renamed);
        Ok(rustix::fs::fsync(folder)?)
    }

    /// Removes a file that no other process may still need. A missing file is not an error.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn remove(&self, name: &str, _lock: &FileLock) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.0.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", name, errno.into())),
        }
    }

    /// Returns the names in the folder that begin with `prefix`, in no particular order.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let read = || {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.0.folder)? {
                if let Ok(name) = entry?.file_name().to_str()
                    && name.starts_with(prefix)
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        };
        read().map_err(|errno: Errno| self.failed("list", "", errno.into()))
    }

    /// Renames a file to `NAME.set-aside`, for a person to examine, replacing an earlier one. Where
    /// that name cannot be replaced, because it belongs to a folder or the file is one itself, a
    /// number is added. A missing file is not an error.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn set_aside(&self, name: &str, _lock: &FileLock) -> Result<(), Error> {
        self.try_set_aside(name).map_err(|errno| self.failed("set aside", name, errno.into()))
    }

    fn try_set_aside(&self, name: &str) -> Result<(), Errno> {
        let folder = self.0.folder.as_fd();
        let mut result = Ok(());
        for number in 1..=MAX_SET_ASIDE {
            let aside = match number {
                1 => format!("{name}.set-aside"),
                number => format!("{name}.set-aside-{number}"),
            };
            result = rustix::fs::renameat(folder, name, folder, aside);
            match result {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => (),
                Err(errno) => return Err(errno),
            }
        }
        result
    }

    /// Acquires a lock on the file `name`, waiting up to `timeout` on this clock.
    ///
    /// The lock is polled, at least every 50 milliseconds, instead of waiting in the kernel: a
    /// thread that waits there cannot be interrupted when the caller gives up or the runtime ends.
    /// Dropping the future ends the wait.
    ///
    /// # Errors
    /// `store_locked`, which is transient, when the lock is still held elsewhere after `timeout`;
    /// `store_unusable` when the file system fails.
    pub async fn lock(&self, name: &str, clock: &SharedClock, timeout: Duration) -> Result<FileLock, Error> {
        self.with_lock(name, clock, timeout, Ok).await
    }

    /// Runs blocking work with a lock, which is acquired as by [`lock`](Self::lock).
    ///
    /// Lock and work share a thread. A lock that crosses an `.await` stays locked for all processes
    /// while the runtime of its future is not driven.
    ///
    /// # Errors
    /// The errors of [`lock`](Self::lock) and of `work`; `work_failed` when no thread can be
    /// started.
    pub async fn with_lock<T: Send + 'static>(
        &self,
        name: &str,
        clock: &SharedClock,
        timeout: Duration,
        work: impl FnOnce(FileLock) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (mut waited, mut pause) = (Duration::ZERO, LOCK_PAUSES.0);
        let mut work = work;
        loop {
            let (dir, file) = (self.clone(), name.to_owned());
            let attempt = spawn_blocking(move || {
                Ok::<_, Error>(match dir.try_lock(&file)? {
                    Some(lock) => Ok(work(lock)?),
                    None => Err(work),
                })
            });
            match attempt.await?? {
                Ok(result) => {
                    if !waited.is_zero() {
                        tracing::debug!(
                            waited_ms = waited.as_millis() as u64,
                            "another process held the lock"
                        );
                    }
                    return Ok(result);
                }
                Err(unused) => work = unused,
            }
            if waited >= timeout {
                return Err(self.still_locked(name, waited));
            }
            clock.sleep(pause).await;
            waited += pause;
            pause = LOCK_PAUSES.1.min(pause * 2);
        }
    }

    /// Acquires a lock on the file `name`, creating the file if it is missing; returns `None` if
    /// the lock is held elsewhere. A symbolic link, folder, pipe or socket of this name is set
    /// aside, and so is a file that this user may not open, such as one of root.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn try_lock(&self, name: &str) -> Result<Option<FileLock>, Error> {
        let opened = match self.open_lock_file(name) {
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO | Errno::ACCESS) => {
                self.repair_lock_file(name).map_err(|error| self.failed("set aside", name, error))?;
                self.open_lock_file(name)
            }
            opened => opened,
        };
        let file = opened.map_err(|errno| self.failed("open", name, errno.into()))?;
        FileLock::try_lock(File::from(file)).map_err(|error| self.failed("lock", name, error))
    }

    fn open_lock_file(&self, name: &str) -> Result<OwnedFd, Errno> {
        // Without `NONBLOCK`, opening a pipe would wait for a reader.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0.folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        let is_file = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile;
        if is_file { Ok(file) } else { Err(Errno::NXIO) }
    }

    /// Sets a lock file aside that cannot be opened. The folder itself is locked meanwhile, so that
    /// of two processes the second one does not set the new lock file of the first aside.
    fn repair_lock_file(&self, name: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.0.folder, ".", flags, Mode::empty())?;
        while let Err(errno) = rustix::fs::flock(&folder, FlockOperation::LockExclusive) {
            if errno != Errno::INTR {
                return Err(errno.into());
            }
        }
        match self.open_lock_file(name) {
            Ok(_) => return Ok(()),
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO | Errno::ACCESS) => (),
            Err(errno) => return Err(errno.into()),
        }
        let path = self.0.path.join(name);
        tracing::warn!(file = %printable(path.display()), "a lock file cannot be opened; it is set aside");
        Ok(self.try_set_aside(name)?)
    }

    fn still_locked(&self, name: &str, waited: Duration) -> Error {
        let path = self.0.path.join(name);
        let summary = format!("{} was locked for more than {} seconds", path.display(), waited.as_secs());
        Error::new(ErrorKind::Environment, "store_locked", summary).with_transient(true).with_advice(
            "find the process that holds the lock with `fuser -v` on this file, and check why it hangs",
        )
    }

    fn failed(&self, action: &str, name: &str, error: io::Error) -> Error {
        unusable(&self.0.path.join(name), format!("could not {action}")).with_source(error)
    }
}

impl fmt::Debug for PrivateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateDir").field(&self.0.path).finish()
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAFile => "is not a regular file",
            Self::ForeignOwner => "belongs to another user",
            Self::OpenToOthers => "is open to other users",
            Self::Unreadable => "may not be read by this user",
            Self::TooLong => "is too long",
        })
    }
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn file_problem(found: &Stat) -> Option<FileProblem> {
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        Some(FileProblem::NotAFile)
    } else if found.st_uid != rustix::process::geteuid().as_raw() {
        Some(FileProblem::ForeignOwner)
    } else if Mode::from_raw_mode(found.st_mode).intersects(OTHERS) {
        Some(FileProblem::OpenToOthers)
    } else {
        None
    }
}

/// Returns true for the error of a folder that could not be created because the file system is full
/// or read-only.
#[must_use]
pub fn has_no_room(error: &Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull))
}

fn unusable(path: &Path, problem: impl fmt::Display) -> Error {
    let summary = format!("{problem} {}", path.display());
    Error::new(ErrorKind::Environment, "store_unusable", summary)
        .with_advice("choose a folder that this user may write to, on a file system with free space")
}

#[cfg(test)]
mod tests;
