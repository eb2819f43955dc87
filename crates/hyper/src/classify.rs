//! Classification of TLS and HTTP failures as transport errors.

use std::error::Error;
use std::io;

use rustls::AlertDescription;
use symbolon_transport::{TransportError, TransportErrorKind};
use symbolon_types::SigningError;

use crate::client_auth::ClientAuthRecord;
use crate::http1::ExchangeError;

/// Returns the error for a failed handshake.
pub(crate) fn handshake_failed(error: io::Error, record: &ClientAuthRecord) -> TransportError {
    match tls_error(&error) {
        Some(tls) => match signing_error(tls) {
            Some(signing) => TransportError::new(TransportErrorKind::IdentityUnusable).with_source(signing),
            None => TransportError::new(of_tls_error(tls, record)).with_source(error),
        },
        None => TransportError::new(of_loss(record)).with_source(error),
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
        match tls_error(&error) {
            Some(tls) => of_tls_error(tls, record),
            None => of_loss(record),
        }
    };
    TransportError::new(kind).with_source(error)
}

fn of_tls_error(error: &rustls::Error, record: &ClientAuthRecord) -> TransportErrorKind {
    match error {
        rustls::Error::AlertReceived(alert)
            if record.is_known_to_server() && may_concern_certificate(*alert) =>
        {
            TransportErrorKind::IdentityRejected
        }
        _ => TransportErrorKind::Tls,
    }
}

/// Returns the kind of a fresh connection's loss before the first byte of a response. Some servers
/// refuse a certificate by closing the connection.
fn of_loss(record: &ClientAuthRecord) -> TransportErrorKind {
    if record.is_known_to_server() {
        TransportErrorKind::IdentityRejected
    } else {
        TransportErrorKind::Interrupted
    }
}

/// Alerts about the version, the name and the application protocol (RFC 8446 §6.2, RFC 6066 §3, RFC
/// 7301 §3.2) do not concern the certificate. All others may: servers send `handshake_failure`,
/// `internal_error` or `decrypt_error` as well as `certificate_unknown`.
fn may_concern_certificate(alert: AlertDescription) -> bool {
    !matches!(
        alert,
        AlertDescription::ProtocolVersion
            | AlertDescription::UnrecognisedName
            | AlertDescription::NoApplicationProtocol
    )
}

fn signing_error(error: &rustls::Error) -> Option<SigningError> {
    let rustls::Error::Other(other) = error else { return None };
    other.0.downcast_ref::<SigningError>().cloned()
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

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Iterates over an error and its causes. An `io::Error` reports the source of the error it wraps
/// as its own, so the wrapped error itself, where rustls puts the alert, must be added.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn cause<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let error = *error;
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|wrapped| wrapped as _),
            None => error.source(),
        }
    }
    std::iter::successors(Some(error), cause)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn kind(error: io::Error, is_presented: bool) -> TransportErrorKind {
        let record = ClientAuthRecord::default();
        if is_presented {
            record.set_presented();
        }
        handshake_failed(error, &record).kind()
    }

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn fatal_alerts_reject_a_shown_certificate() {
        use AlertDescription as Alert;
        for (alert, expected) in [
            (Alert::BadCertificate, TransportErrorKind::IdentityRejected),
            (Alert::UnknownCA, TransportErrorKind::IdentityRejected),
            (Alert::CertificateRevoked, TransportErrorKind::IdentityRejected),
            (Alert::HandshakeFailure, TransportErrorKind::IdentityRejected),
            (Alert::InternalError, TransportErrorKind::IdentityRejected),
            (Alert::Unknown(200), TransportErrorKind::IdentityRejected),
            (Alert::ProtocolVersion, TransportErrorKind::Tls),
            (Alert::UnrecognisedName, TransportErrorKind::Tls),
            (Alert::NoApplicationProtocol, TransportErrorKind::Tls),
        ] {
            assert_eq!(kind(wrapped(rustls::Error::AlertReceived(alert)), true), expected, "{alert:?}");
            let unseen = kind(wrapped(rustls::Error::AlertReceived(alert)), false);
            assert_eq!(unseen, TransportErrorKind::Tls, "{alert:?}");
        }
    }

    #[test]
    fn loss_rejects_a_shown_certificate_only() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(reset(), true), TransportErrorKind::IdentityRejected);
        assert_eq!(kind(reset(), false), TransportErrorKind::Interrupted);
    }

    #[test]
    fn signing_errors_are_unwrapped() {
        let signing = rustls::Error::Other(rustls::OtherError(Arc::new(SigningError::failed("no device"))));
        let error = handshake_failed(wrapped(signing), &ClientAuthRecord::default());
        assert_eq!(error.kind(), TransportErrorKind::IdentityUnusable);
        assert!(error.source().is_some_and(|source| source.is::<SigningError>()));
    }
}
