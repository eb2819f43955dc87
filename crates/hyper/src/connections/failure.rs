//! Failures of requests on a connection.

use symbolon_rustls::rustls::Error;
use symbolon_rustls::{ClientAuthRecord, causes, ends_handshake};
use symbolon_transport::{TransportError, TransportErrorKind};

use super::http1::ExchangeFailure;
use super::outgoing::OutgoingBody;
use crate::classify::{
    NewConnectionError, exchange_lost, interim_only, is_not_http, is_renegotiation_refused, of_tls,
    on_new_connection, renegotiation_refused,
};
use crate::stream::StreamActivity;

/// The failure of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct SendFailure {
    /// The error.
    pub error: TransportError,
    /// The request, if no part of it was written.
    pub unsent: Option<Box<http::Request<OutgoingBody>>>,
    /// True if the server certainly did not process the request (RFC 9110 §9.2.2): nothing was
    /// sent, or an HTTP/2 server refused the stream (RFC 9113 §8.7).
    pub is_unprocessed: bool,
    /// True if a new connection was lost without an alert, after the server could have seen the
    /// certificate and before it responded. Some servers refuse a certificate in this way.
    pub is_lost_with_identity: bool,
}

impl SendFailure {
    /// Creates the failure of a request that was not sent.
    pub(crate) fn unsent(
        error: impl Into<NewConnectionError>,
        request: Box<http::Request<OutgoingBody>>,
    ) -> Self {
        Self::new(error.into(), Some(request), true)
    }

    fn new(
        failed: NewConnectionError,
        unsent: Option<Box<http::Request<OutgoingBody>>>,
        is_unprocessed: bool,
    ) -> Self {
        let is_lost_with_identity = matches!(failed, NewConnectionError::LostWithIdentity(_));
        let (NewConnectionError::LostWithIdentity(error) | NewConnectionError::Other(error)) = failed;
        let error = error.with_unprocessed(is_unprocessed);
        Self { error, unsent, is_unprocessed, is_lost_with_identity }
    }

    /// Returns true if the server refused the certificate.
    #[must_use]
    pub fn is_identity_rejected(&self) -> bool {
        self.error.kind() == TransportErrorKind::IdentityRejected
    }
}

/// The failure of a request that another transport sent.
impl From<TransportError> for SendFailure {
    fn from(error: TransportError) -> Self {
        let is_unprocessed = error.is_unprocessed();
        Self { error, unsent: None, is_unprocessed, is_lost_with_identity: false }
    }
}

/// Returns the failure of an exchange. `record` is `None` for a connection that has served another
/// request, whose loss says nothing about the certificate. `is_late` is true if the server had
/// received the request before it requested the certificate.
pub(crate) fn exchange_error(
    failure: ExchangeFailure,
    activity: &StreamActivity,
    record: Option<&ClientAuthRecord>,
    is_late: bool,
) -> SendFailure {
    let (error, unsent) = match failure {
        ExchangeFailure::Lost(error, unsent) => (error, unsent),
        ExchangeFailure::InterimOnly => return SendFailure::new(interim_only().into(), None, false),
    };
    let mut is_unprocessed = unsent.is_some() || !activity.is_written() || is_refused_stream(&error);
    let failed = match (record, activity.tls_error()) {
        _ if error.is_user() => {
            TransportError::new(TransportErrorKind::Unsupported).with_source(error).into()
        }
        _ if is_renegotiation_refused(&error) => renegotiation_refused(error).into(),
        // An HTTP/2 server may send its settings before it refuses the certificate.
        (Some(record), Some(tls)) => {
            is_unprocessed |=
                !is_late && matches!(tls, Error::AlertReceived(alert) if ends_handshake(*alert));
            let kind = record.failure_kind(tls);
            on_new_connection(kind, exchange_lost(kind, Some(tls), error))
        }
        (Some(record), None) if !activity.is_received() => {
            let kind = record.failure_kind(&error);
            on_new_connection(kind, of_tls(kind).with_source(error))
        }
        _ => body_failed(error).into(),
    };
    SendFailure::new(failed, unsent, is_unprocessed)
}

/// Returns the error of a response that ends early, or that is not HTTP.
pub(crate) fn body_failed(error: hyper::Error) -> TransportError {
    if is_renegotiation_refused(&error) {
        return renegotiation_refused(error);
    }
    let kind = match is_not_http(&error) || of_h2(&error).is_some_and(h2::Error::is_library) {
        true => TransportErrorKind::Protocol,
        false => TransportErrorKind::Interrupted,
    };
    TransportError::new(kind).with_source(error)
}

/// Returns true if an HTTP/2 server did not process the request (RFC 9113 §8.7): it refused the
/// stream, or ended the connection before it.
fn is_refused_stream(error: &hyper::Error) -> bool {
    of_h2(error).is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn of_h2(error: &hyper::Error) -> Option<&h2::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}
