//! What the tests that cross crates share: a world to test in, and keys of their own.

mod key;
mod logs;
mod world;

pub use key::{OpaqueKey, OpaqueKeys};
pub use logs::CapturedLogs;
pub use world::{Counts, RESOURCE, World};
