//! Files that other programs read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use symbolon_types::{Error, ErrorKind};
use zeroize::Zeroizing;

/// Write permission of other users, and of the group.
const OTHERS_WRITE: Mode = Mode::WOTH;
const GROUP_WRITE: Mode = Mode::WGRP;

/// Writes a file that another program reads, replacing an existing one atomically: a reader, also
/// after a crash, finds either the complete old file or the complete new one. Returns false if the
/// file has this content and mode already, and then changes nothing.
///
/// The owner and the group of an existing file stay. The folder must exist. It is locked meanwhile,
/// and blocks for as long as the file system takes. Only on Unix.
///
/// # Errors
/// `output_file_unusable` when
/// - the folder does not exist, or other users can write to it;
/// - the file is a link, a folder or a device;
/// - the folder is shared, and the file belongs to neither its owner nor this user;
/// - the owner cannot be kept, or the file system fails;
/// - another process writes to the folder (transient).
pub fn publish_file(path: &Path, content: &[u8], mode: u32) -> Result<bool, Error> {
    try_publish(path, content, Mode::from_raw_mode(mode)).map_err(|problem| {
        let summary = format!("could not write {}", path.display());
        let error = Error::new(ErrorKind::Environment, "output_file_unusable", summary);
        match problem {
            PublishError::Io(cause) => {
                error.with_advice("check the folder, its permissions, and its free space").with_source(cause)
            }
            PublishError::Refused(advice) => error.with_advice(advice),
            PublishError::Locked => {
                error.with_advice("another process writes to this folder: try again").with_transient(true)
            }
        }
    })
}

/// Reason why a file is not written.
enum PublishError {
    Io(io::Error),
    /// The file or its folder must not be used; with advice.
    Refused(&'static str),
    Locked,
}

impl From<Errno> for PublishError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn try_publish(path: &Path, content: &[u8], mode: Mode) -> Result<bool, PublishError> {
    let name = path.file_name().ok_or(PublishError::Refused("name a file, not a folder"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    // Other errors are ignored: some network file systems lock no folders.
    if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Err(PublishError::Locked);
    }
    let folder = folder.as_fd();
    let existing = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno.into()),
    };
    check_access(&rustix::fs::fstat(folder)?, existing.as_ref())?;
    if let Some(found) = &existing
        && Mode::from_raw_mode(found.st_mode) == mode
        && has_content(folder, name.as_ref(), content)
    {
        return Ok(false);
    }
    let temporary = format!(".{}.symbolon-new", name.to_string_lossy());
    // Left behind by a process that was killed.
    match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => (),
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let replaced = write(file, content, mode, existing.as_ref())
        .and_then(|()| Ok(rustix::fs::renameat(folder, &temporary, folder, name)?));
    if let Err(error) = replaced {
        // It may contain a key.
        let _removed = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
        return Err(error);
    }
    rustix::fs::fsync(folder)?;
    Ok(true)
}

/// Refuses a folder in which another user can replace the file, and a file that another user may
/// have created to receive its content.
fn check_access(folder: &Stat, file: Option<&Stat>) -> Result<(), PublishError> {
    let permissions = Mode::from_raw_mode(folder.st_mode);
    let is_open = permissions.intersects(OTHERS_WRITE);
    if is_open && !permissions.intersects(Mode::SVTX) {
        return Err(PublishError::Refused("other users can write to the folder: run `chmod o-w` on it"));
    }
    let Some(file) = file else { return Ok(()) };
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
        return Err(PublishError::Refused("it is not a regular file: remove it, or choose another path"));
    }
    let own = rustix::process::geteuid().as_raw();
    if (is_open || permissions.intersects(GROUP_WRITE)) && ![own, folder.st_uid].contains(&file.st_uid) {
        return Err(PublishError::Refused(
            "it belongs to another user, who may have created it to receive a key: remove it, or choose a \
             folder that only its owner can write to",
        ));
    }
    Ok(())
}

/// Returns true if the file has this content. A file that cannot be read is replaced.
fn has_content(folder: BorrowedFd<'_>, name: &Path, content: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    // Allocated in full size: growing would leave copies of a key in memory.
    let mut found = Zeroizing::new(Vec::with_capacity(content.len() + 2));
    File::from(file).take(content.len() as u64 + 1).read_to_end(&mut found).is_ok() && *found == content
}

fn write(file: OwnedFd, content: &[u8], mode: Mode, existing: Option<&Stat>) -> Result<(), PublishError> {
    let mut file = File::from(file);
    file.write_all(content)?;
    if let Some(old) = existing {
        let new = rustix::fs::fstat(&file)?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            let owner = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)).map_err(|errno| match errno {
                Errno::PERM => PublishError::Refused(
                    "its owner or group cannot be kept: run the command as its owner or as root, or remove it",
                ),
                errno => errno.into(),
            })?;
        }
    }
    // After the change of the owner, which can reset it.
    rustix::fs::fchmod(&file, mode)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests;
