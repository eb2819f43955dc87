//! A folder that only this user can use.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use symbolon_types::{Error, ErrorKind};
use zeroize::Zeroizing;

use super::FileLock;

/// The longest file that is read. A key takes two kilobytes, a certificate not many more.
const LONGEST: u64 = 64 * 1024;
/// Whatever lets others than the owner do something.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// A folder with mode 0700 that belongs to the user this process runs as; its files have mode
/// 0600.
///
/// It is opened once and held: who renames it, or puts a symbolic link in its place, changes
/// nothing here. Clones share what was opened.
#[derive(Clone)]
pub struct PrivateDir(Arc<Inner>);

struct Inner {
    folder: OwnedFd,
    path: PathBuf,
}

/// What is under a name.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found {
    /// Nothing.
    Absent,
    /// A file of ours. It is overwritten in memory when it is dropped.
    Content(Zeroizing<Vec<u8>>),
    /// Something that must not be used.
    Unusable(Flaw),
}

/// Why something in the folder must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// It is a symbolic link, a folder, a pipe or a device.
    NotAFile,
    /// It belongs to another user.
    ForeignOwner,
    /// Others than its owner may read or write it.
    OpenToOthers,
    /// This user may not read it.
    Unreadable,
    /// It is longer than 64 KiB.
    TooLong,
}

/// Where a replacement has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    Created,
    Written,
    Synced,
    Renamed,
}

impl PrivateDir {
    /// Opens the folder, and makes it first where it is missing, with the folders above it.
    ///
    /// # Errors
    /// `store_unusable` when it cannot be made or opened, is a symbolic link, belongs to another
    /// user, or is open to others. Nothing is changed then: who else has been in it is not for us to
    /// guess.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let opened = open_folder(&path).map_err(|error| unusable(&path, "could not open").with_source(error));
        let folder = opened?;
        let found = rustix::fs::fstat(&folder)
            .map_err(|errno| unusable(&path, "could not examine").with_source(io::Error::from(errno)))?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(unusable(&path, "will not use").with_advice(
                "the folder belongs to another user: name one that belongs to the user this process runs as",
            ));
        }
        if Mode::from_raw_mode(found.st_mode).intersects(OTHERS) {
            return Err(unusable(&path, "will not use")
                .with_advice("the folder is open to other users: check what is in it, then `chmod 700` it"));
        }
        Ok(Self(Arc::new(Inner { folder, path })))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What is under this name. A file that was replaced meanwhile is read as it was before, or
    /// as it is after.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn read(&self, name: &str) -> Result<Found, Error> {
        self.try_read(name).map_err(|error| self.failed("read", name, error))
    }

    fn try_read(&self, name: &str) -> io::Result<Found> {
        // Without `NONBLOCK`, opening a pipe waits for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Absent),
            // A symbolic link; and a socket, which cannot be opened.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO) => return Ok(Found::Unusable(Flaw::NotAFile)),
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Found::Unusable(Flaw::Unreadable)),
            Err(errno) => return Err(errno.into()),
        };
        if let Some(flaw) = flaw(&rustix::fs::fstat(&file)?) {
            return Ok(Found::Unusable(flaw));
        }
        // As large as it can get, so that growing leaves no copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
        File::from(file).take(LONGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LONGEST {
            return Ok(Found::Unusable(Flaw::TooLong));
        }
        Ok(Found::Content(content))
    }

    /// Puts a file under this name, in place of what is there, in one step: whoever reads it, and
    /// whoever looks after a crash, finds the old one or the new one, whole.
    ///
    /// The lock is what makes its temporary file its own; any lock in this folder will do, as long
    /// as everybody takes the same one for this name.
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
        passed: impl Fn(Step),
    ) -> Result<(), Error> {
        self.try_replace(name, content, passed).map_err(|error| self.failed("write", name, error))
    }

    fn try_replace(&self, name: &str, content: &[u8], passed: impl Fn(Step)) -> io::Result<()> {
        let folder = self.0.folder.as_fd();
        let temporary = format!("{name}.new");
        // A process that was killed here has left one.
        match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => (),
            Err(errno) => return Err(errno.into()),
        }
        passed(Step::Begun);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        passed(Step::Created);
        let mut file = File::from(file);
        file.write_all(content)?;
        passed(Step::Written);
        file.sync_all()?;
        passed(Step::Synced);
        rustix::fs::renameat(folder, &temporary, folder, name)?;
        passed(Step::Renamed);
        Ok(rustix::fs::fsync(folder)?)
    }

    /// Renames what is under this name to `NAME.set-aside`, for a person to look at; the one that
    /// was set aside before is gone then. Nothing under this name is no error.
    ///
    /// # Errors
    /// `store_unusable` when the file system fails.
    pub fn set_aside(&self, name: &str, _lock: &FileLock) -> Result<(), Error> {
        let folder = self.0.folder.as_fd();
        let renamed = rustix::fs::renameat(folder, name, folder, format!("{name}.set-aside"));
        match renamed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("set aside", name, errno.into())),
        }
    }

    /// Opens the file that a lock is held on, and makes it first where it is missing.
    pub(super) fn open_lock_file(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.0.folder, name, flags, Mode::RUSR | Mode::WUSR);
        opened.map(File::from).map_err(|errno| self.failed("open", name, errno.into()))
    }

    pub(super) fn failed(&self, what: &str, name: &str, error: io::Error) -> Error {
        unusable(&self.0.path.join(name), format!("could not {what}")).with_source(error)
    }
}

impl fmt::Debug for PrivateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateDir").field(&self.0.path).finish()
    }
}

impl fmt::Display for Flaw {
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

fn flaw(found: &Stat) -> Option<Flaw> {
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        Some(Flaw::NotAFile)
    } else if found.st_uid != rustix::process::geteuid().as_raw() {
        Some(Flaw::ForeignOwner)
    } else if Mode::from_raw_mode(found.st_mode).intersects(OTHERS) {
        Some(Flaw::OpenToOthers)
    } else {
        None
    }
}

fn unusable(path: &Path, what: impl fmt::Display) -> Error {
    let summary = format!("{what} {}", path.display());
    Error::new(ErrorKind::Environment, "store_unusable", summary)
        .with_advice("name a folder that this user may write to, on a file system that has room")
}

#[cfg(test)]
mod tests;
