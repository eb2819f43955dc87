//! The folder in which the emulator's certificate lies for as long as the emulator runs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// How the folders of all runs begin.
const PREFIX: &str = "symbolon-emulator-";
/// The file that a run holds locked: what nobody holds is left over from a run that was killed.
const LOCK: &str = "lock";

pub(super) struct Home {
    folder: TempDir,
    _lock: File,
}

impl Home {
    /// Makes a folder, and removes those of runs that could not remove theirs.
    pub(super) fn make() -> io::Result<Self> {
        let folder = folder()?;
        if let Some(all) = folder.path().parent() {
            sweep(all);
        }
        // Locked before it has its name, so that no other run finds it unheld.
        let nameless = folder.path().join("lock.new");
        let lock = File::create_new(&nameless)?;
        hold(&lock)?;
        fs::rename(nameless, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A new folder, which nobody else can look into.
fn folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir()
}

/// Removes what is left over. What cannot be read or removed is somebody else's.
fn sweep(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&path) {
            let _removed = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(unix)]
fn hold(lock: &File) -> io::Result<()> {
    rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(Into::into)
}

/// Whether this is a folder that this user's run made, for nobody else to write into, and holds no longer.
#[cfg(unix)]
fn is_abandoned(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = fs::symlink_metadata(path) else { return false };
    let own =
        folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw() && folder.mode() & 0o077 == 0;
    own && File::open(path.join(LOCK)).is_ok_and(|lock| hold(&lock).is_ok())
}

/// Without locks of this kind nothing is known to be left over.
#[cfg(not(unix))]
fn hold(_lock: &File) -> io::Result<()> {
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
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
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
        hold(&lock).unwrap();
        let strange = folder("symbolon-emulator-without-a-lock");
        let other = folder("another-program");
        File::create(other.join(LOCK)).unwrap();
        let shared = folder("symbolon-emulator-shared");
        File::create(shared.join(LOCK)).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();

        sweep(all.path());
        assert!(!abandoned.exists());
        for kept in [&held, &strange, &other, &shared] {
            assert!(kept.exists(), "{}", kept.display());
        }
        drop(lock);
        sweep(all.path());
        assert!(!held.exists());
    }
}
