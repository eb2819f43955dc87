//! Classification of the errors of reqwest.

use std::io;

use symbolon_rustls::rustls::Error as RustlsError;
use symbolon_rustls::{ClientAuthRecord, TlsError, TlsErrorKind, causes, ends_handshake, tls_error};
use symbolon_transport::{TransportError, TransportErrorKind};

use crate::attempt::Attempt;
use crate::connector::{NotRequested, of_tls};
use crate::resolver::NoLocalAddress;

/// The failure of an attempt to send a request.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) error: TransportError,
    /// True if a new connection was lost without an alert, after the server could have seen the
    /// certificate and before it responded. Some servers refuse a certificate in this way.
    pub(crate) is_lost_with_identity: bool,
}

impl From<TransportError> for AttemptFailure {
    fn from(error: TransportError) -> Self {
        Self { error, is_lost_with_identity: false }
    }
}

/// Returns the failure of an attempt.
pub(crate) fn attempt_failed(error: reqwest::Error, attempt: &Attempt) -> AttemptFailure {
    // The URL may contain a secret.
    let error = error.without_url();
    let has_cause = |is: fn(&(dyn std::error::Error + 'static)) -> bool| causes(&error).any(is);
    if has_cause(|cause| cause.is::<NotRequested>()) {
        return TransportErrorKind::IdentityNotRequested.into_failure(error);
    }
    if has_cause(|cause| cause.is::<NoLocalAddress>()) {
        return TransportErrorKind::Insecure.into_failure(error);
    }
    if error.is_timeout() {
        let is_unprocessed = error.is_connect();
        let failed = TransportError::new(TransportErrorKind::Timeout).with_source(error);
        return failed.with_unprocessed(is_unprocessed).into();
    }
    let record = attempt.record();
    if error.is_connect() {
        return not_connected(error, record.as_ref());
    }
    let Some(hyper) = hyper_error(&error) else {
        return TransportErrorKind::Unsupported.into_failure(error);
    };
    if hyper.is_user() {
        return TransportErrorKind::Unsupported.into_failure(error);
    }
    // hyper returns a request that it has not begun to write.
    let is_unsent = hyper.is_canceled() || hyper.is_closed();
    let cause = tls_cause(&error);
    let is_refused = matches!(cause, Some(RustlsError::AlertReceived(alert)) if ends_handshake(alert));
    let is_unprocessed = is_unsent || is_refused || is_refused_stream(&error);
    let (kind, is_lost_with_identity) = match record {
        _ if cause.is_none() && is_not_http(hyper) => (TransportErrorKind::Protocol, false),
        // A connection that had been opened before says nothing about the certificate.
        None => (TransportErrorKind::Interrupted, false),
        Some(record) => {
            let kind = failure_kind(&record, cause, &error);
            (of_tls(kind), kind == TlsErrorKind::LostWithIdentity)
        }
    };
    let error = TransportError::new(kind).with_source(error).with_unprocessed(is_unprocessed);
    AttemptFailure { error, is_lost_with_identity }
}

/// Returns the failure of a connection. Nothing of the request was sent.
fn not_connected(error: reqwest::Error, record: Option<&ClientAuthRecord>) -> AttemptFailure {
    let cause = tls_cause(&error);
    let kind = record
        .filter(|record| cause.is_some() || record.is_known_to_server())
        .map(|record| failure_kind(record, cause, &error));
    let transport = TransportError::new(kind.map_or(TransportErrorKind::Connect, of_tls));
    let is_lost_with_identity = kind == Some(TlsErrorKind::LostWithIdentity);
    AttemptFailure { error: transport.with_source(error).with_unprocessed(true), is_lost_with_identity }
}

fn failure_kind(
    record: &ClientAuthRecord,
    cause: Option<RustlsError>,
    error: &reqwest::Error,
) -> TlsErrorKind {
    match cause {
        Some(cause) => record.failure_kind(&cause),
        None => record.failure_kind(error),
    }
}

/// Returns the error of rustls among the causes.
fn tls_cause(error: &reqwest::Error) -> Option<RustlsError> {
    tls_error(error).cloned().or_else(|| alert_in_text(error))
}

/// Returns the alert that ended an HTTP/2 connection, of which h2 keeps the text only.
#[cfg(feature = "http2")]
fn alert_in_text(error: &reqwest::Error) -> Option<RustlsError> {
    use symbolon_rustls::rustls::AlertDescription;

    let text = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>())?.to_string();
    let mut alerts = (0..=u8::MAX).map(|number| RustlsError::AlertReceived(AlertDescription::from(number)));
    alerts.find(|alert| alert.to_string() == text)
}

#[cfg(not(feature = "http2"))]
fn alert_in_text(_error: &reqwest::Error) -> Option<RustlsError> {
    None
}

/// Returns the error for a configuration that could not be made.
pub(crate) fn not_configured(error: TlsError) -> TransportError {
    TransportError::new(of_tls(error.kind())).with_source(error).with_unprocessed(true)
}

/// Returns the error of a response body.
pub(crate) fn body_failed(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        TransportErrorKind::Timeout
    } else if hyper_error(&error).is_some_and(is_not_http) {
        TransportErrorKind::Protocol
    } else {
        TransportErrorKind::Interrupted
    };
    TransportError::new(kind).with_source(error)
}

trait IntoFailure {
    fn into_failure(self, source: reqwest::Error) -> AttemptFailure;
}

impl IntoFailure for TransportErrorKind {
    fn into_failure(self, source: reqwest::Error) -> AttemptFailure {
        TransportError::new(self).with_source(source).into()
    }
}

fn hyper_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a hyper::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
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

/// Returns true if an HTTP/2 server did not process the request (RFC 9113 §8.7): it refused the
/// stream, or ended the connection before it.
#[cfg(feature = "http2")]
fn is_refused_stream(error: &reqwest::Error) -> bool {
    let of_h2 = causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>());
    of_h2.is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

#[cfg(not(feature = "http2"))]
fn is_refused_stream(_error: &reqwest::Error) -> bool {
    false
}
