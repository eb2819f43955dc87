//! Independent programs run by tests: servers, and devices that hold keys.

#![cfg(unix)]
#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this crate is all tests")]

#[cfg(target_os = "linux")]
mod machines;
mod nginx;
mod openssl;
mod program;
#[cfg(target_os = "linux")]
mod redis;
mod service;
mod softhsm;
mod swtpm;

#[cfg(target_os = "linux")]
pub use machines::Machines;
pub use nginx::start_nginx;
pub use openssl::verify_every_scheme;
pub use program::{find_program, missing, or_skip};
#[cfg(target_os = "linux")]
pub use redis::Redis;
pub use service::{Folder, Service};
pub use softhsm::SoftHsm;
pub use swtpm::Swtpm;
