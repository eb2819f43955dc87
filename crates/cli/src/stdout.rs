//! Results on stdout.

use std::fmt::Display;
use std::io::{self, Write};

use symbolon::Error;

use crate::failure;

/// Prints a result and a line break.
///
/// # Errors
/// `local_error` if stdout is closed or full.
pub(crate) fn print_line(text: impl Display) -> Result<(), Error> {
    print(format_args!("{text}\n"))
}

/// Prints a result.
///
/// # Errors
/// `local_error` if stdout is closed or full.
pub(crate) fn print(text: impl Display) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    // Without the flush, an error would show only when the process ends.
    let printed = write!(stdout, "{text}").and_then(|()| stdout.flush());
    printed.map_err(not_printed)
}

/// Returns the error of a result that could not be printed.
pub(crate) fn not_printed(cause: io::Error) -> Error {
    let advice = match cause.kind() {
        io::ErrorKind::BrokenPipe => "the program that reads it has ended",
        io::ErrorKind::StorageFull => "free some space, or print to another file",
        _ => "check the file or the program that stdout is connected to",
    };
    failure::local("the result could not be written to stdout", cause).with_advice(advice)
}
