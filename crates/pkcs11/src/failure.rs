//! What can go wrong between a key and its token.

use cryptoki::error::{Error as ModuleError, RvError};
use symbolon_types::{Error, ErrorKind, SigningError};

/// Why the token did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The token, or the way to it.
    #[error("{0}")]
    Known(Error),
    /// A function of the module.
    #[error("the PKCS#11 module failed to {what}")]
    Module {
        what: &'static str,
        #[source]
        cause: ModuleError,
    },
    #[error("the token has no key with this id and this public key any more")]
    Gone,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// Says what the module was asked to do.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Outcome<T>;
}

impl<T> Doing<T> for Result<T, ModuleError> {
    fn doing(self, what: &'static str) -> Outcome<T> {
        self.map_err(|cause| Failure::Module { what, cause })
    }
}

impl Failure {
    pub(crate) fn code(&self) -> Option<RvError> {
        match self {
            Self::Module { cause: ModuleError::Pkcs11(code, _), .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether a new session may do what this one could not: it is dead, nobody is logged in any more,
    /// or what its handles stand for has changed.
    pub(crate) fn is_of_session(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RvError::SessionHandleInvalid
                    | RvError::SessionClosed
                    | RvError::DeviceRemoved
                    | RvError::DeviceError
                    | RvError::TokenNotPresent
                    | RvError::SlotIdInvalid
                    | RvError::UserNotLoggedIn
                    | RvError::CryptokiNotInitialized
                    | RvError::ObjectHandleInvalid
                    | RvError::KeyHandleInvalid
                    | RvError::OperationActive
                    | RvError::OperationNotInitialized
            )
        )
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
            other => known("token_failed", "could not use the PKCS#11 token")
                .with_advice("check the token with the tools of its maker, or with `pkcs11-tool`")
                .with_source(other),
        }
    }
}

pub(crate) fn known(code: &'static str, summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Environment, code, summary)
}
