//! The command under test, and the examples of the README.

use std::path::{Path, PathBuf};

/// The audience of the emulator's resource server.
pub const RESOURCE: &str = "https://vault.example";

/// The path of the `symbolon` command, which `cargo test --workspace` builds beside the tests.
#[must_use]
pub fn symbolon() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let name = format!("symbolon{}", std::env::consts::EXE_SUFFIX);
    let command = this.parent().and_then(Path::parent)?.join(name);
    command.is_file().then_some(command)
}

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
