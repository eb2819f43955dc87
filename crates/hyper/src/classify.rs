//! Classification of TLS and HTTP failures as transport errors.

use std::io;

use http::StatusCode;
use symbolon_rustls::rustls::Error;
use symbolon_rustls::{
    ClientAuthRecord, TlsError, TlsErrorKind, causes, ends_handshake, signing_error, tls_error,
};
use symbolon_transport::{TransportError, TransportErrorKind};

use crate::http1::ExchangeError;
use crate::interim::InterimCount;
use crate::stream::RenegotiationRefused;

/// The failure of a request on a new connection.
#[derive(Debug)]
pub(crate) enum NewConnectionError {
    /// The connection was lost without an alert, after the server could have seen the certificate
    /// and before it responded. Some servers refuse a certificate in this way.
    LostWithIdentity(TransportError),
    /// Any other failure.
    Other(TransportError),
}

impl NewConnectionError {
    /// Returns the name of the kind of error, for the label of a metric.
    pub(crate) fn error_type(&self) -> &'static str {
        let (Self::LostWithIdentity(error) | Self::Other(error)) = self;
        error.kind().as_str()
    }

    /// Returns true if the server refused the certificate, or may have.
    pub(crate) fn may_be_refusal(&self) -> bool {
        match self {
            Self::LostWithIdentity(_) => true,
            Self::Other(error) => error.kind() == TransportErrorKind::IdentityRejected,
        }
    }
}

impl From<TransportError> for NewConnectionError {
    fn from(error: TransportError) -> Self {
        Self::Other(error)
    }
}

/// Returns the error for a failed handshake or configuration. Nothing of the request was sent.
pub(crate) fn tls_failed(error: TlsError) -> NewConnectionError {
    let kind = error.kind();
    let failed = of_tls(kind).with_unprocessed(true);
    let failed = match kind {
        TlsErrorKind::Roots => failed
            .with_problem("was not called, because the trusted root certificates could not be loaded")
            .with_advice("correct or unset SSL_CERT_FILE, or install the root certificates of the platform"),
        _ => failed,
    };
    on_new_connection(kind, explained(failed, error))
}

/// Returns the error for a failed TLS handshake with the proxy.
pub(crate) fn proxy_tls_failed(error: TlsError) -> TransportError {
    let failed = match error.kind() {
        TlsErrorKind::Interrupted => TransportError::new(TransportErrorKind::Connect),
        _ => TransportError::new(TransportErrorKind::Tls)
            .with_problem("could not be reached, because the TLS handshake with the proxy failed")
            .with_unprocessed(true),
    };
    explained(failed, error)
}

/// Adds advice and cause of a TLS error.
fn explained(failed: TransportError, error: TlsError) -> TransportError {
    let failed = match error.advice() {
        Some(advice) => failed.with_advice(advice),
        None => failed,
    };
    match error.into_source() {
        Some(source) => failed.with_source(source),
        None => failed,
    }
}

/// Returns the error for a connection on which HTTP could not be started.
pub(crate) fn not_started(error: hyper::Error) -> NewConnectionError {
    TransportError::new(TransportErrorKind::Interrupted).with_source(error).with_unprocessed(true).into()
}

/// Returns the error for a failed exchange on a new connection.
///
/// `is_late` is true if the server had received the request before it requested the certificate.
pub(crate) fn exchange_failed(
    failure: ExchangeError,
    record: &ClientAuthRecord,
    is_late: bool,
) -> NewConnectionError {
    match failure {
        ExchangeError::Lost { error, is_sent, is_answered: false }
            if !error.is_user() && !is_renegotiation_refused(&error) =>
        {
            let kind = record.failure_kind(&error);
            let tls = tls_error(&error).cloned();
            let is_refused =
                !is_late && matches!(&tls, Some(Error::AlertReceived(alert)) if ends_handshake(*alert));
            let is_unprocessed = !is_sent || is_refused;
            on_new_connection(kind, exchange_lost(kind, tls.as_ref(), error).with_unprocessed(is_unprocessed))
        }
        failure => kept_connection_failed(failure).into(),
    }
}

/// Returns the error for a failed exchange on a connection that has served a request. It does not
/// concern the certificate, which the server had accepted.
pub(crate) fn kept_connection_failed(failure: ExchangeError) -> TransportError {
    let (error, is_sent, is_answered) = match failure {
        ExchangeError::TooLarge => return TransportErrorKind::TooLarge.into(),
        ExchangeError::InterimOnly => return interim_only(),
        ExchangeError::Lost { error, is_sent, is_answered } => (error, is_sent, is_answered),
    };
    if is_renegotiation_refused(&error) {
        return renegotiation_refused(error).with_unprocessed(!is_sent);
    }
    let kind = if error.is_user() {
        TransportErrorKind::Unsupported
    } else if is_answered && is_not_http(&error) {
        TransportErrorKind::Protocol
    } else {
        TransportErrorKind::Interrupted
    };
    TransportError::new(kind).with_source(error).with_unprocessed(!is_sent)
}

/// Returns true if the server ended the connection because a renegotiation was refused.
pub(crate) fn is_renegotiation_refused(error: &hyper::Error) -> bool {
    causes(error).any(|cause| cause.is::<RenegotiationRefused>())
}

/// Returns the error of a server that requested a renegotiation, which was refused.
pub(crate) fn renegotiation_refused(error: hyper::Error) -> TransportError {
    TransportError::new(TransportErrorKind::Tls)
        .with_problem("requested a TLS renegotiation, as for a client certificate, which this connection refuses")
        .with_advice(
            "use a URL that requires no client certificate, without the header x-ms-tokenboundauth; to present one, \
             request a bound token and send with the crate symbolon-openssl (`symbolon call --pop --tls openssl`)",
        )
        .with_source(error)
}

/// Returns true if the server has accepted the request, or changes to its protocol (RFC 9110
/// §15.2.2).
pub(crate) fn is_accepted(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS
}

/// Returns the error of a server that accepts a request without the certificate that its token is
/// bound to, so that the token protects nothing.
pub(crate) fn accepted_without_certificate() -> TransportError {
    TransportError::new(TransportErrorKind::IdentityNotRequested)
        .with_problem("accepted the request without requesting the client certificate")
        .with_advice(
            "check that the resource requires the certificate for this request: without it, a bound token is worth no \
             more than a bearer token",
        )
        .with_unprocessed(false)
}

/// Returns the error of a server that sends interim responses and no other.
pub(crate) fn interim_only() -> TransportError {
    TransportError::new(TransportErrorKind::Protocol)
        .with_problem(format!("sent {} interim responses and no other", InterimCount::LIMIT))
        .with_advice("check that the URL is correct")
}

/// Returns the error of an exchange on a new connection, with the cause and advice of its TLS
/// error.
pub(crate) fn exchange_lost(kind: TlsErrorKind, tls: Option<&Error>, error: hyper::Error) -> TransportError {
    let failed = of_tls(kind);
    let failed = match (kind, tls.and_then(|tls| kind.advice(tls))) {
        (_, Some(advice)) => failed.with_advice(advice),
        (TlsErrorKind::Handshake, None) => failed.with_problem("failed TLS after the handshake").with_advice(
            "check that no proxy or other device on the way changes the connection, and try again",
        ),
        _ => failed,
    };
    match tls.and_then(signing_error) {
        Some(signing) => failed.with_source(signing.clone()),
        None => failed.with_source(error),
    }
}

/// Distinguishes a loss that may be a refusal of the certificate.
pub(crate) fn on_new_connection(kind: TlsErrorKind, error: TransportError) -> NewConnectionError {
    match kind {
        TlsErrorKind::LostWithIdentity => NewConnectionError::LostWithIdentity(error),
        _ => NewConnectionError::Other(error),
    }
}

/// Returns the transport error of this kind.
pub(crate) fn of_tls(kind: TlsErrorKind) -> TransportError {
    TransportError::new(match kind {
        TlsErrorKind::IdentityRejected => TransportErrorKind::IdentityRejected,
        TlsErrorKind::IdentityUnusable => TransportErrorKind::IdentityUnusable,
        TlsErrorKind::IdentityNotRequested => TransportErrorKind::IdentityNotRequested,
        TlsErrorKind::Interrupted | TlsErrorKind::LostWithIdentity => TransportErrorKind::Interrupted,
        _ => TransportErrorKind::Tls,
    })
}

/// Returns true if the head of a response or the framing of its body, which hyper reports as
/// invalid input, is malformed.
pub(crate) fn is_not_http(error: &hyper::Error) -> bool {
    let is_invalid = |io: &io::Error| {
        matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
            && tls_error(io).is_none()
    };
    error.is_parse() || causes(error).any(|cause| cause.downcast_ref().is_some_and(is_invalid))
}
