//! Our own command.

use std::path::{Path, PathBuf};

/// The command, which `cargo test --workspace` builds beside the tests.
#[must_use]
pub fn symbolon() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let name = format!("symbolon{}", std::env::consts::EXE_SUFFIX);
    let command = this.parent().and_then(Path::parent)?.join(name);
    command.is_file().then_some(command)
}
