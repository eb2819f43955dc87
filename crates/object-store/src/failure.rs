//! Errors of Symbolon as errors of object_store.

use object_store::client::{HttpError, HttpErrorKind};
use symbolon_client::{Error, ErrorKind};

/// Returns the error of a request. object_store repeats idempotent requests after `Interrupted` and
/// `Timeout`, so only an error after which the request may be repeated has such a kind.
pub(crate) fn request_failed(error: Error) -> HttpError {
    let kind = match (error.kind(), error.is_transient()) {
        (ErrorKind::Network, true) if error.code() == "timeout" => HttpErrorKind::Timeout,
        (ErrorKind::Network, true) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

/// Returns the error of a setting or of a token.
pub(crate) fn store_failed(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "MicrosoftAzure", source: Box::new(error) }
}
