//! Results on stdout.

use std::fmt::Display;
use std::io::{self, Write};

use symbolon::Error;

use crate::failure;

const NOT_PRINTED: &str = "the result could not be written to stdout";

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

/// Returns true for the error of a result whose reader has ended, as `head` does. The reader got
/// what it needs, so that there is nobody to tell.
pub(crate) fn is_reader_gone(error: &Error) -> bool {
    let is_broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    error.code() == "local_error"
        && error.to_string().starts_with(NOT_PRINTED)
        && cause.is_some_and(is_broken_pipe)
}

/// Returns the error of a result that could not be printed.
pub(crate) fn not_printed(cause: io::Error) -> Error {
    let advice = match cause.kind() {
        io::ErrorKind::StorageFull => "free some space, or print to another file",
        _ => "check the file or the program that stdout is connected to",
    };
    failure::local(NOT_PRINTED, cause).with_advice(advice)
}
