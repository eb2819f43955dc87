//! Programs that may be missing.

use std::io::{self, Write as _};
use std::path::Path;

use symbolon_types::Env;

/// Returns the path of a program.
#[must_use]
pub fn find_program(name: &str) -> Option<String> {
    // Daemons are in directories that only the PATH of root contains.
    let path = Env::process().var("PATH").unwrap_or_default() + ":/usr/sbin";
    path.split(':').map(|folder| format!("{folder}/{name}")).find(|file| Path::new(file).is_file())
}

/// Prints on standard error that a test is skipped, and the program to install.
///
/// # Panics
/// In continuous integration (`CI` is set).
pub fn missing(what: &str) {
    assert!(Env::process().var("CI").is_none(), "there is no {what}");
    // The test harness captures `eprintln!`, and this line should be visible.
    let _ = writeln!(io::stderr(), "skipped: there is no {what}");
}

/// The parts of a server; or `None`, with a line on standard error that names the missing part.
///
/// # Panics
/// If a part is missing in continuous integration.
pub fn or_skip<T>(server: &str, parts: Result<T, String>) -> Option<T> {
    parts.map_err(|what| missing(&format!("{server} without {what}"))).ok()
}
