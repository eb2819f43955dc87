//! A folder of this user's own, files that are in it whole or not at all, and who may change them.
//!
//! What outlives a process (a key, a binding) goes into a [`PrivateDir`]. It is read without a
//! lock, because a file is replaced in one step, and changed under a [`FileLock`], so that of
//! processes that start together one makes what is missing and the others find it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let path = parent.path().join("symbolon");
//! use std::time::Duration;
//! use symbolon_binding::store::{FileLock, Found, PrivateDir};
//! use symbolon_types::SharedClock;
//!
//! let dir = PrivateDir::open(&path)?;
//! let lock = FileLock::acquire(&dir, "lock", &SharedClock::system(), Duration::from_secs(30)).await?;
//! dir.replace("note", b"to myself", &lock)?;
//! assert!(matches!(dir.read("note")?, Found::Content(bytes) if *bytes == b"to myself"));
//! # Ok(()) }
//! ```
//!
//! All but the waiting for a lock blocks, for as long as the file system takes. Only on Unix.

mod file_lock;
mod private_dir;

pub use file_lock::FileLock;
pub use private_dir::{Flaw, Found, PrivateDir};
