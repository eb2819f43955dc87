//! Folders that only this user can use, with atomic file replacement and file locks.
//!
//! Data that outlives the process (a key, a binding) goes into a [`PrivateDir`]. A file is replaced
//! in one step, so it is read without a lock. It is changed under a [`FileLock`]: of processes that
//! start together, one creates the missing file and the others find it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let path = parent.path().join("symbolon");
//! use std::time::Duration;
//! use symbolon_binding::store::{PrivateDir, StoredFile};
//! use symbolon_types::SharedClock;
//!
//! let dir = PrivateDir::open(&path)?;
//! let lock = dir.lock("lock", &SharedClock::system(), Duration::from_secs(30)).await?;
//! dir.replace("note", b"to myself", &lock)?;
//! assert!(matches!(dir.read("note")?, StoredFile::Content(bytes) if *bytes == b"to myself"));
//! # Ok(()) }
//! ```
//!
//! All functions except [`PrivateDir::lock`] block for as long as the file system takes. Only on
//! Unix.

mod file_lock;
mod private_dir;

pub use file_lock::FileLock;
pub(crate) use private_dir::has_no_room;
pub use private_dir::{FileProblem, PrivateDir, StoredFile};
