//! Fixtures of the tests that cross crates: the test environment, clients, keys, token services.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::exhaustive_structs,
    missing_debug_implementations,
    reason = "this crate is all tests"
)]

mod clients;
mod command;
mod key;
#[cfg(unix)]
pub mod oauth;
mod test_env;

pub use clients::CLIENT_ID;
pub use command::symbolon;
pub use key::{OpaqueKey, OpaqueKeys};
pub use symbolon_test_logs::CapturedLogs;
pub use test_env::{Counts, RESOURCE, TestEnv};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
