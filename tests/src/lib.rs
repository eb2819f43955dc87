//! What the tests that cross crates share: a world to test in, and keys of their own.

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
mod world;

pub use clients::CLIENT_ID;
pub use command::symbolon;
pub use key::{OpaqueKey, OpaqueKeys};
pub use symbolon_test_logs::CapturedLogs;
pub use world::{Counts, RESOURCE, World};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
