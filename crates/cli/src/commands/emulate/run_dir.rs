//! The folder of a run, with the emulator's certificate.
//!
//! Programs trust the certificate for as long as `SSL_CERT_FILE` is set in their shell, also after
//! the emulator has ended. Another user must then not be able to create the same file anew, so the
//! folder is never in a folder that others can write to, such as `/tmp`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use symbolon::{Env, Error, ErrorKind};
use tempfile::TempDir;

use crate::failure;

/// Prefix of the folders of all runs.
const PREFIX: &str = "emulator-";
/// Name of the file that a run keeps locked. A folder with an unlocked file is left over from a run
/// that was killed.
const LOCK: &str = "lock";
#[cfg(unix)]
const ADVICE: &str = "set XDG_CACHE_HOME to a folder of this user that no other user can write to, \
                      or XDG_RUNTIME_DIR to one with mode 0700";
#[cfg(not(unix))]
const ADVICE: &str = "set LOCALAPPDATA to a folder that this user can write to";

/// A folder that is removed on drop.
pub(super) struct RunDir {
    folder: TempDir,
    _lock: File,
}

impl RunDir {
    /// Creates a folder, and removes those that killed runs left over.
    pub(super) fn create(env: &Env) -> Result<Self, Error> {
        let parent = user_folder(env)?.join("symbolon");
        create_private(&parent)
            .map_err(|error| unusable(&parent, "could not be created").with_source(error))?;
        #[cfg(unix)]
        refuse_shared(&parent)?;
        remove_abandoned(&parent);
        Self::create_in(&parent)
            .map_err(|error| unusable(&parent, "could not be written to").with_source(error))
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let folder = builder.tempdir_in(parent)?;
        // Locked before it is renamed, so that no other run finds it unlocked.
        let draft = folder.path().join("lock.new");
        let lock = File::create_new(&draft)?;
        try_lock(&lock)?;
        fs::rename(draft, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Returns this user's folder for runtime files or, without a private one, for caches (XDG Base
/// Directory Specification).
#[cfg(unix)]
fn user_folder(env: &Env) -> Result<PathBuf, Error> {
    if let Some(runtime) = absolute(env, "XDG_RUNTIME_DIR").filter(|folder| is_private(folder)) {
        return Ok(runtime);
    }
    let cache = absolute(env, "XDG_CACHE_HOME").or_else(|| Some(absolute(env, "HOME")?.join(".cache")));
    let cache = cache.ok_or_else(|| no_folder("neither XDG_CACHE_HOME nor HOME is an absolute path"))?;
    create_private(&cache).map_err(|error| unusable(&cache, "could not be created").with_source(error))?;
    refuse_shared(&cache)?;
    Ok(cache)
}

#[cfg(not(unix))]
fn user_folder(env: &Env) -> Result<PathBuf, Error> {
    absolute(env, "LOCALAPPDATA").ok_or_else(|| no_folder("LOCALAPPDATA is not an absolute path"))
}

fn absolute(env: &Env, name: &str) -> Option<PathBuf> {
    env.var(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn no_folder(reason: &str) -> Error {
    let message = format!("no folder for the emulator's certificate: {reason}");
    failure::request("invalid_usage", message).with_advice(ADVICE)
}

fn unusable(folder: &Path, problem: &str) -> Error {
    let message = format!("{} {problem}, but the emulator keeps its certificate there", folder.display());
    Error::new(ErrorKind::Service, "local_error", message).with_advice(ADVICE)
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Returns whether the folder belongs to this user and no other user can open it.
#[cfg(unix)]
fn is_private(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).is_ok_and(|found| found.is_dir() && is_own(&found) && found.mode() & 0o077 == 0)
}

/// Refuses a folder in which another user could create or replace files.
#[cfg(unix)]
fn refuse_shared(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let found =
        fs::metadata(folder).map_err(|error| unusable(folder, "could not be examined").with_source(error))?;
    if !is_own(&found) {
        return Err(unusable(folder, "belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(unusable(folder, "can be written to by other users"));
    }
    Ok(())
}

#[cfg(unix)]
fn is_own(found: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(found) == rustix::process::geteuid().as_raw()
}

/// Removes abandoned folders, except those that cannot be read or removed.
fn remove_abandoned(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&path) {
            let _removed = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(unix)]
fn try_lock(lock: &File) -> io::Result<()> {
    rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(Into::into)
}

/// Returns whether the folder belongs to this user alone and its lock file is unlocked.
#[cfg(unix)]
fn is_abandoned(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = fs::symlink_metadata(path) else { return false };
    let own = folder.is_dir() && is_own(&folder) && folder.mode() & 0o077 == 0;
    own && File::open(path.join(LOCK)).is_ok_and(|lock| try_lock(&lock).is_ok())
}

/// Does nothing: without `flock`, no folder is considered abandoned.
#[cfg(not(unix))]
fn try_lock(_lock: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn is_abandoned(_path: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_removed() {
        let all = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = all.path().join(name);
            fs::create_dir(&path).unwrap();
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            path
        };
        let abandoned = folder("emulator-abandoned");
        fs::write(abandoned.join("emulator-ca.pem"), "a certificate").unwrap();
        File::create(abandoned.join(LOCK)).unwrap();
        let held = folder("emulator-held");
        let lock = File::create(held.join(LOCK)).unwrap();
        try_lock(&lock).unwrap();
        let strange = folder("emulator-without-a-lock");
        let other = folder("another-program");
        File::create(other.join(LOCK)).unwrap();
        let shared = folder("emulator-shared");
        File::create(shared.join(LOCK)).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();

        remove_abandoned(all.path());
        assert!(!abandoned.exists());
        for kept in [&held, &strange, &other, &shared] {
            assert!(kept.exists(), "{}", kept.display());
        }
        drop(lock);
        remove_abandoned(all.path());
        assert!(!held.exists());
    }
}
