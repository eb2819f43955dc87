//! A layer around reqwest's connector that checks if the server requested the certificate, and
//! observes the connections.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_rustls::{ClientAuthRecord, TlsErrorKind, causes, tls_error};
use symbolon_transport::TransportErrorKind;
use symbolon_types::TlsSession;
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::Attempt;
use crate::observation::ConnectionObserver;

type BoxError = Box<dyn Error + Send + Sync>;

/// The server did not request the certificate, so no request is sent to it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server did not request the client certificate")]
pub(crate) struct NotRequested;

/// A request was to be sent without its token.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a request of this client has no token; pass its RequestBuilder to AuthorizedClient::send")]
pub(crate) struct NotAuthorized;

/// The check of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConnectionCheck {
    /// The certificate must have been requested in the TLS handshake.
    IdentityPresented,
    /// None.
    Any,
    /// There is no connection.
    Refuse,
}

/// The layer around the connector: a check, and the observer of TLS connections.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLayer {
    pub(crate) check: ConnectionCheck,
    pub(crate) observer: ConnectionObserver,
}

impl<S> Layer<S> for ConnectionLayer {
    type Service = CheckedConnector<S>;

    fn layer(&self, inner: S) -> CheckedConnector<S> {
        CheckedConnector { inner, layer: self.clone() }
    }
}

/// A connector whose connections are checked and observed.
#[derive(Clone, Debug)]
pub(crate) struct CheckedConnector<S> {
    inner: S,
    layer: ConnectionLayer,
}

impl<S, D> Service<D> for CheckedConnector<S>
where
    S: Service<D, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, destination: D) -> Self::Future {
        let ConnectionLayer { check, observer } = &self.layer;
        let must_present = match check {
            ConnectionCheck::Refuse => return Box::pin(async { Err(NotAuthorized.into()) }),
            ConnectionCheck::IdentityPresented => true,
            ConnectionCheck::Any => false,
        };
        let (record, attempt) = (ClientAuthRecord::default(), Attempt::current());
        if let Some(attempt) = &attempt {
            attempt.set_record(record.clone());
        }
        let is_tls = attempt.is_some_and(|attempt| attempt.is_tls());
        let opening = is_tls.then(|| observer.start(must_present));
        let connecting = self.inner.call(destination);
        Box::pin(async move {
            let mut connected = record.observe(connecting).await;
            if connected.is_ok() && must_present && !record.is_presented() {
                connected = Err(NotRequested.into());
            }
            if let Some(opening) = opening {
                // The recorded configurations resume no session.
                let session = TlsSession::new(record.tls_version().unwrap_or("unknown"), false);
                opening
                    .end(connected.as_ref().map(|_| session).map_err(|error| error_type(&**error, &record)));
            }
            connected
        })
    }
}

/// Returns the type of the error of a connection, for the label of a metric.
fn error_type(error: &(dyn Error + 'static), record: &ClientAuthRecord) -> &'static str {
    let kind = if causes(error).any(|cause| cause.is::<NotRequested>()) {
        TransportErrorKind::IdentityNotRequested
    } else if tls_error(error).is_some() || record.is_known_to_server() {
        of_tls(record.failure_kind(error))
    } else {
        TransportErrorKind::Connect
    };
    kind.as_str()
}

/// Returns the kind of a failed handshake.
pub(crate) fn of_tls(kind: TlsErrorKind) -> TransportErrorKind {
    match kind {
        TlsErrorKind::IdentityRejected => TransportErrorKind::IdentityRejected,
        TlsErrorKind::IdentityUnusable => TransportErrorKind::IdentityUnusable,
        TlsErrorKind::IdentityNotRequested => TransportErrorKind::IdentityNotRequested,
        TlsErrorKind::Interrupted | TlsErrorKind::LostWithIdentity => TransportErrorKind::Interrupted,
        _ => TransportErrorKind::Tls,
    }
}
