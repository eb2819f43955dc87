//! Classification of TLS and HTTP failures as transport errors.

use std::io;

use symbolon_rustls::{ClientAuthRecord, TlsError, TlsErrorKind, causes, tls_error};
use symbolon_transport::{TransportError, TransportErrorKind};

use crate::http1::ExchangeError;

/// Returns the error for a failed handshake or configuration.
pub(crate) fn tls_failed(error: TlsError) -> TransportError {
    let failed = TransportError::new(of_tls(error.kind()));
    match error.into_source() {
        Some(source) => failed.with_source(source),
        None => failed,
    }
}

/// Returns the error for a failed exchange. `record` is empty for a kept connection, whose loss
/// says nothing about the certificate.
pub(crate) fn exchange_failed(failure: ExchangeError, record: &ClientAuthRecord) -> TransportError {
    let (error, is_answered) = match failure {
        ExchangeError::TooLarge => return TransportErrorKind::TooLarge.into(),
        ExchangeError::Lost { error, is_answered } => (error, is_answered),
    };
    let kind = if error.is_user() {
        TransportErrorKind::Unsupported
    } else if is_answered {
        if is_not_http(&error) { TransportErrorKind::Protocol } else { TransportErrorKind::Interrupted }
    } else {
        of_tls(record.failure_kind(&error))
    };
    TransportError::new(kind).with_source(error)
}

fn of_tls(kind: TlsErrorKind) -> TransportErrorKind {
    match kind {
        TlsErrorKind::IdentityRejected => TransportErrorKind::IdentityRejected,
        TlsErrorKind::IdentityUnusable => TransportErrorKind::IdentityUnusable,
        TlsErrorKind::IdentityNotRequested => TransportErrorKind::IdentityNotRequested,
        TlsErrorKind::Interrupted => TransportErrorKind::Interrupted,
        _ => TransportErrorKind::Tls,
    }
}

/// Returns true if the head of a response or the framing of its body, which hyper reports as
/// invalid input, is malformed.
fn is_not_http(error: &hyper::Error) -> bool {
    let is_invalid = |io: &io::Error| {
        matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
            && tls_error(io).is_none()
    };
    error.is_parse() || causes(error).any(|cause| cause.downcast_ref().is_some_and(is_invalid))
}
