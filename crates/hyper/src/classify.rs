//! From what went wrong to whose turn it is.

use std::error::Error;
use std::io;

use rustls::AlertDescription;
use symbolon_transport::{TransportError, TransportErrorKind};
use symbolon_types::SigningError;

use crate::channel::Failure;
use crate::presentation::Presentation;

/// A handshake that failed.
pub(crate) fn handshake_failed(error: io::Error, presentation: &Presentation) -> TransportError {
    match tls_error(&error) {
        Some(tls) => match signing_error(tls) {
            Some(signing) => TransportError::new(TransportErrorKind::IdentityUnusable).with_source(signing),
            None => TransportError::new(of_tls_error(tls, presentation)).with_source(error),
        },
        None => TransportError::new(of_loss(presentation)).with_source(error),
    }
}

/// An exchange that failed, on a connection that is not to be blamed for its age.
pub(crate) fn exchange_failed(failure: Failure, presentation: &Presentation) -> TransportError {
    let (error, is_answered) = match failure {
        Failure::TooLarge => return TransportErrorKind::TooLarge.into(),
        Failure::Lost { error, is_answered } => (error, is_answered),
    };
    let kind = if error.is_user() {
        TransportErrorKind::Unsupported
    } else if is_answered {
        if is_not_http(&error) { TransportErrorKind::Protocol } else { TransportErrorKind::Interrupted }
    } else {
        match tls_error(&error) {
            Some(tls) => of_tls_error(tls, presentation),
            None => of_loss(presentation),
        }
    };
    TransportError::new(kind).with_source(error)
}

fn of_tls_error(error: &rustls::Error, presentation: &Presentation) -> TransportErrorKind {
    match error {
        rustls::Error::AlertReceived(alert)
            if presentation.is_known_to_server() && may_concern_certificate(*alert) =>
        {
            TransportErrorKind::IdentityRejected
        }
        _ => TransportErrorKind::Tls,
    }
}

/// The loss of a fresh connection before the first byte of a response. Some servers refuse a
/// certificate by hanging up.
fn of_loss(presentation: &Presentation) -> TransportErrorKind {
    if presentation.is_known_to_server() {
        TransportErrorKind::IdentityRejected
    } else {
        TransportErrorKind::Interrupted
    }
}

/// Alerts that are about the version, the name and the application protocol (RFC 8446 §6.2,
/// RFC 6066 §3, RFC 7301 §3.2) are not about the certificate. Any other may be: servers send
/// `handshake_failure`, `internal_error` or `decrypt_error` as well as `certificate_unknown`.
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

/// Whether the bytes of a response made no sense: its head, or the framing of its body, which
/// hyper reports as invalid input.
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

/// An error and what caused it. The source of an `io::Error` is the source of the error it wraps,
/// so that the wrapped error itself, where rustls puts the alert, is not in the usual chain.
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
        let presentation = Presentation::default();
        if is_presented {
            presentation.set_presented();
        }
        handshake_failed(error, &presentation).kind()
    }

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn a_fatal_alert_is_about_the_certificate_unless_it_cannot_be() {
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
    fn a_loss_is_a_refusal_only_of_what_was_shown() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(reset(), true), TransportErrorKind::IdentityRejected);
        assert_eq!(kind(reset(), false), TransportErrorKind::Interrupted);
    }

    #[test]
    fn a_signing_error_comes_back_as_it_was() {
        let signing = rustls::Error::Other(rustls::OtherError(Arc::new(SigningError::failed("no device"))));
        let error = handshake_failed(wrapped(signing), &Presentation::default());
        assert_eq!(error.kind(), TransportErrorKind::IdentityUnusable);
        assert!(error.source().is_some_and(|source| source.is::<SigningError>()));
    }
}
