//! The result of a step, and the checks that it consists of.

use symbolon::{Error, Thumbprint};

/// The findings of a step, one line each, or the error that broke it.
pub(super) type StepResult = Result<Vec<String>, StepError>;

/// The reason of a failed step.
#[derive(Debug)]
pub(super) struct StepError(pub(super) String);

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for StepError {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

/// Fails the step unless `condition` holds.
pub(super) fn ensure(condition: bool, otherwise: &str) -> Result<(), StepError> {
    if condition { Ok(()) } else { Err(StepError(otherwise.to_owned())) }
}

/// Returns the first characters of a thumbprint, enough to distinguish two.
pub(super) fn short(thumbprint: Thumbprint) -> String {
    thumbprint.to_string().chars().take(8).collect::<String>() + "…"
}
