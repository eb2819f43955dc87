//! Programs that nobody here wrote, run for tests: servers, and devices that hold keys.

#![cfg(unix)]
#![expect(clippy::expect_used, clippy::print_stdout, reason = "this crate is all tests")]

mod program;
mod service;
mod softhsm;

pub use program::{find_program, missing, or_skip};
pub use service::{Folder, Service};
pub use softhsm::SoftHsm;
