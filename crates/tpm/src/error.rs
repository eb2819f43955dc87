//! What can go wrong between a key and its TPM.

use std::fmt;
use std::io;

use symbolon_types::{Error, ErrorKind, SigningError};

/// Why the TPM did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Known(Error),
    #[error("the TPM could not be reached")]
    Lost(#[source] io::Error),
    #[error("the TPM refused {command} with {code}")]
    Refused { command: &'static str, code: Code },
    #[error("the TPM answered {0} with something else")]
    Nonsense(&'static str),
    #[error("the TPM does not take its key back")]
    Gone,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// A response code (TPM 2.0 Library, part 2, §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

impl Code {
    /// Format one: what is wrong with a handle, a session or a parameter.
    fn of_input(self) -> Option<u32> {
        (self.0 & 0x80 != 0).then_some(self.0 & 0x3f)
    }

    /// A handle or a session that is not there (`TPM_RC_REFERENCE_H0` to `S6`, `TPM_RC_HANDLE`): the TPM
    /// was reset, or the connection that it belonged to has ended.
    fn is_of_connection(self) -> bool {
        matches!(self.0, 0x910..=0x91e) || self.of_input() == Some(0x0b)
    }

    /// The TPM asks to send the same again (`TPM_RC_YIELDED`, `TPM_RC_TESTING`, `TPM_RC_RETRY`).
    pub(crate) fn is_again(self) -> bool {
        matches!(self.0, 0x908 | 0x90a | 0x922)
    }

    /// An authorization that is not right (`TPM_RC_AUTH_FAIL`, `TPM_RC_BAD_AUTH`).
    pub(crate) fn is_of_authorization(self) -> bool {
        matches!(self.of_input(), Some(0x0e | 0x22))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Failure {
    /// Whether a new connection may do what this one could not.
    pub(crate) fn is_of_connection(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => code.is_of_connection(),
            _ => false,
        }
    }

    /// Whether the TPM found fault with what it was given.
    pub(crate) fn is_of_input(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.of_input().is_some())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<Failure> for SigningError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => Self::gone(failure),
            other => Self::failed(other),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Known(error) => error,
            Failure::Lost(_) => known("tpm_unreachable", "could not reach the TPM")
                .with_advice("check the device or the address, and that this user may open it (group `tss`)")
                .with_source(failure),
            other => known("tpm_failed", "could not use the TPM")
                .with_advice("`tpm2_rc_decode` says what a response code means")
                .with_source(other),
        }
    }
}

pub(crate) fn known(code: &'static str, summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Environment, code, summary)
}
