//! Errors of Symbolon as errors of the Azure SDK.

use azure_core::error::{Error as SdkError, ErrorKind as SdkErrorKind};
use symbolon_client::{Error, ErrorKind};

/// Returns the error of a request.
///
/// The SDK repeats a request after an error of the kind `Io`, so only an error after which the
/// request may be repeated has this kind.
pub(crate) fn request_failed(error: Error) -> SdkError {
    let kind = match error.kind() {
        ErrorKind::Network if error.is_transient() => SdkErrorKind::Io,
        ErrorKind::Credential | ErrorKind::Service => SdkErrorKind::Credential,
        _ => SdkErrorKind::Other,
    };
    SdkError::new(kind, error)
}

/// Returns the error of a token.
pub(crate) fn token_failed(error: Error) -> SdkError {
    SdkError::new(SdkErrorKind::Credential, error)
}
