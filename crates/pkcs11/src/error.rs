//! Errors between a key and its token.

use std::borrow::Cow;

use cryptoki::error::{Error as ModuleError, RvError};
use symbolon_types::{Error, ErrorKind, SigningError};

/// Error of an operation on a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Pkcs11Error {
    /// The token cannot be used.
    #[error("{0}")]
    Token(Error),
    /// A function of the module failed.
    #[error("the PKCS#11 module failed to {operation}")]
    Module {
        operation: &'static str,
        #[source]
        cause: ModuleError,
    },
    #[error("the token no longer has a key with this id and this public key")]
    KeyGone,
}

/// Adds the failed operation to an error of the module.
pub(crate) trait OperationContext<T> {
    fn context(self, operation: &'static str) -> Result<T, Pkcs11Error>;
}

impl<T> OperationContext<T> for Result<T, ModuleError> {
    fn context(self, operation: &'static str) -> Result<T, Pkcs11Error> {
        self.map_err(|cause| Pkcs11Error::Module { operation, cause })
    }
}

impl Pkcs11Error {
    pub(crate) fn code(&self) -> Option<RvError> {
        match self {
            Self::Module { cause: ModuleError::Pkcs11(code, _), .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns true if the operation may succeed in a new session: the session ended, the user was
    /// logged out, or the object handles changed.
    pub(crate) fn is_session_lost(&self) -> bool {
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

impl From<Pkcs11Error> for SigningError {
    fn from(error: Pkcs11Error) -> Self {
        match error {
            Pkcs11Error::KeyGone => Self::gone(error),
            other => Self::failed(other),
        }
    }
}

impl From<Pkcs11Error> for Error {
    fn from(error: Pkcs11Error) -> Self {
        match error {
            Pkcs11Error::Token(error) => error,
            other => environment_error("token_failed", "could not use the PKCS#11 token")
                .with_advice("check the token with the tools of its vendor, or with `pkcs11-tool`")
                .with_source(other),
        }
    }
}

pub(crate) fn environment_error(code: &'static str, summary: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Environment, code, summary)
}
