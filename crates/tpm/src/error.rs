//! Errors between a key and its TPM.

use std::fmt;
use std::io;

use symbolon_types::{Error, ErrorKind, SigningError};

use crate::tcti::Tcti;

/// Error of an operation on a TPM.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TpmError {
    #[error("{0}")]
    Tpm(Error),
    #[error("the TPM could not be reached")]
    Unreachable {
        /// Set by [`TpmError::at`].
        address: String,
        source: io::Error,
    },
    #[error("the TPM refused {command} with {code}")]
    Refused { command: &'static str, code: ResponseCode },
    #[error("the TPM sent an invalid response to {0}")]
    InvalidResponse(&'static str),
    #[error("the TPM cannot load the key any more")]
    KeyGone,
}

/// Response code (TPM 2.0 Library, part 2, §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseCode(pub(crate) u32);

impl ResponseCode {
    /// Returns the error number of a format-one code: an error in a handle, session or parameter.
    fn parameter_error(self) -> Option<u32> {
        (self.0 & 0x80 != 0).then_some(self.0 & 0x3f)
    }

    /// Returns true if a handle or session does not exist (`TPM_RC_REFERENCE_H0` to `S6`,
    /// `TPM_RC_HANDLE`): the TPM was reset, or the connection of the handle has ended.
    fn is_connection_lost(self) -> bool {
        matches!(self.0, 0x910..=0x91e) || self.parameter_error() == Some(0x0b)
    }

    /// Returns true if the command should be sent again (`TPM_RC_YIELDED`, `TPM_RC_TESTING`,
    /// `TPM_RC_RETRY`).
    pub(crate) fn should_retry(self) -> bool {
        matches!(self.0, 0x908 | 0x90a | 0x922)
    }

    /// Returns true for a wrong authorization value (`TPM_RC_AUTH_FAIL`, `TPM_RC_BAD_AUTH`).
    pub(crate) fn is_authorization_error(self) -> bool {
        matches!(self.parameter_error(), Some(0x0e | 0x22))
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl TpmError {
    /// Adds the address of the TPM.
    pub(crate) fn at(self, tcti: &Tcti) -> Self {
        match self {
            Self::Unreachable { source, .. } => Self::Unreachable { address: tcti.to_string(), source },
            other => other,
        }
    }

    /// Returns true if the operation may succeed on a new connection.
    pub(crate) fn is_connection_lost(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => code.is_connection_lost(),
            _ => false,
        }
    }

    /// Returns true if the TPM rejected a handle, session or parameter.
    pub(crate) fn is_parameter_error(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.parameter_error().is_some())
    }
}

impl From<io::Error> for TpmError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable { address: String::new(), source: error }
    }
}

impl From<TpmError> for SigningError {
    fn from(error: TpmError) -> Self {
        match error {
            TpmError::KeyGone => Self::gone(error),
            other => Self::failed(other),
        }
    }
}

impl From<TpmError> for Error {
    fn from(error: TpmError) -> Self {
        match error {
            TpmError::Tpm(error) => error,
            TpmError::Unreachable { ref address, .. } => {
                environment_error("tpm_unreachable", format!("could not reach the TPM at {address}"))
                    .with_advice(
                        "check the device or the address, and that this user may open it (group `tss`)",
                    )
                    .with_source(error)
            }
            other => environment_error("tpm_failed", "could not use the TPM")
                .with_advice("`tpm2_rc_decode` explains the response code")
                .with_source(other),
        }
    }
}

pub(crate) fn environment_error(
    code: &'static str,
    summary: impl Into<std::borrow::Cow<'static, str>>,
) -> Error {
    Error::new(ErrorKind::Environment, code, summary)
}
