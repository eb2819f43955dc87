//! The key files by which the Azure Arc agent checks that a client runs on its machine
//! (docs/protocol/sources.md#azure-arc).

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use base64ct::{Base64, Encoding};

use crate::random;

/// The directory of the real agent on Linux. Clients accept no other one.
const DIRECTORY: &str = "/var/opt/azcmagent/tokens";

/// The open challenges. A key file is removed when its key is used, and when the emulator stops.
pub(crate) struct ArcChallenges {
    directory: PathBuf,
    open: Mutex<Vec<ArcChallenge>>,
}

struct ArcChallenge {
    path: PathBuf,
    key: String,
}

impl ArcChallenges {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory: directory.unwrap_or_else(|| DIRECTORY.into()), open: Mutex::default() }
    }

    /// Writes a key into a new file and returns its path. The directory is created at the first
    /// challenge.
    pub(crate) fn issue(&self) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(format!("{}.key", random::guid()));
        let key = Base64::encode_string(&random::bytes::<32>());
        fs::write(&path, &key)?;
        self.open().push(ArcChallenge { path: path.clone(), key });
        Ok(path)
    }

    /// Returns true if an open challenge has this key.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.open().iter().any(|challenge| challenge.key == key)
    }

    /// Removes the challenge with this key and its file.
    pub(crate) fn close(&self, key: &str) {
        self.open().retain(|challenge| challenge.key != key);
    }

    /// Removes all challenges and their files.
    pub(crate) fn clear(&self) {
        self.open().clear();
    }

    fn open(&self) -> MutexGuard<'_, Vec<ArcChallenge>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ArcChallenge {
    fn drop(&mut self) {
        // A test may have removed the file already.
        let _removed = fs::remove_file(&self.path);
    }
}
