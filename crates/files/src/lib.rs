#![doc = include_str!("../README.md")]

mod blocking;
#[cfg(unix)]
mod file_lock;
#[cfg(unix)]
mod private_dir;
#[cfg(unix)]
mod published_file;

pub use blocking::spawn_blocking;
#[cfg(unix)]
pub use file_lock::FileLock;
#[cfg(unix)]
pub use private_dir::{FileProblem, PrivateDir, StoredFile, has_no_room};
#[cfg(unix)]
pub use published_file::publish_file;
