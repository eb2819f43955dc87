//! Programs that may be there.

use std::io::{self, Write as _};
use std::path::Path;

use symbolon_types::Env;

/// The path of a program.
#[must_use]
pub fn find_program(name: &str) -> Option<String> {
    // Daemons are in a place that only root's PATH names.
    let path = Env::process().var("PATH").unwrap_or_default() + ":/usr/sbin";
    path.split(':').map(|folder| format!("{folder}/{name}")).find(|file| Path::new(file).is_file())
}

/// Says on standard error that a test is skipped, and what to install.
///
/// # Panics
/// In continuous integration (`CI` is set): there it can be installed.
pub fn missing(what: &str) {
    assert!(Env::process().var("CI").is_none(), "there is no {what}");
    // Not `eprintln!`, which the test harness captures: who reads "ok" should read this, too.
    let _ = writeln!(io::stderr(), "skipped: there is no {what}");
}

/// The parts of a server, or a line on standard error that says what is missing.
///
/// # Panics
/// When something is missing in continuous integration.
pub fn or_skip<T>(server: &str, parts: Result<T, String>) -> Option<T> {
    parts.map_err(|what| missing(&format!("{server} without {what}"))).ok()
}
