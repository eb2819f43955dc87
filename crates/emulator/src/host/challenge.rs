//! The key files with which the Azure Arc agent finds out who runs on its machine.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use base64ct::{Base64, Encoding};

use crate::random;

/// Where the agent puts them on Linux: clients look nowhere else.
const DIRECTORY: &str = "/var/opt/azcmagent/tokens";

/// The challenges for which there was no token yet. Their files go when there is, and with the emulator.
pub(crate) struct Challenges {
    directory: PathBuf,
    open: Mutex<Vec<Challenge>>,
}

struct Challenge {
    path: PathBuf,
    key: String,
}

impl Challenges {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory: directory.unwrap_or_else(|| DIRECTORY.into()), open: Mutex::default() }
    }

    /// Writes a key into a new file. Nothing is written before the first challenge.
    pub(crate) fn issue(&self) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(format!("{}.key", random::guid()));
        let key = Base64::encode_string(&random::bytes::<32>());
        fs::write(&path, &key)?;
        self.open().push(Challenge { path: path.clone(), key });
        Ok(path)
    }

    /// Whether this key was read from a file that is still there.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.open().iter().any(|challenge| challenge.key == key)
    }

    /// Forgets a key that got its token.
    pub(crate) fn close(&self, key: &str) {
        self.open().retain(|challenge| {
            let stays = challenge.key != key;
            if !stays {
                remove(&challenge.path);
            }
            stays
        });
    }

    /// Forgets all keys.
    pub(crate) fn forget(&self) {
        for challenge in self.open().drain(..) {
            remove(&challenge.path);
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Challenge>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Challenges {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A file that somebody else removed is gone as well.
fn remove(path: &Path) {
    let _gone = fs::remove_file(path);
}
