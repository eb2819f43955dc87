//! The temporary folder of a run, with the emulator's certificate.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Prefix of the folders of all runs.
const PREFIX: &str = "symbolon-emulator-";
/// Name of the file that a run keeps locked. A folder with an unlocked file is left over from a run
/// that was killed.
const LOCK: &str = "lock";

/// A folder that is removed on drop.
pub(super) struct RunDir {
    folder: TempDir,
    _lock: File,
}

impl RunDir {
    /// Creates a folder, and removes those that killed runs left over.
    pub(super) fn create() -> io::Result<Self> {
        let folder = private_folder()?;
        if let Some(all) = folder.path().parent() {
            remove_abandoned(all);
        }
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

/// Creates a folder that only this user can open.
fn private_folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir()
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
    let own =
        folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw() && folder.mode() & 0o077 == 0;
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
        let abandoned = folder("symbolon-emulator-abandoned");
        fs::write(abandoned.join("emulator-ca.pem"), "a certificate").unwrap();
        File::create(abandoned.join(LOCK)).unwrap();
        let held = folder("symbolon-emulator-held");
        let lock = File::create(held.join(LOCK)).unwrap();
        try_lock(&lock).unwrap();
        let strange = folder("symbolon-emulator-without-a-lock");
        let other = folder("another-program");
        File::create(other.join(LOCK)).unwrap();
        let shared = folder("symbolon-emulator-shared");
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
