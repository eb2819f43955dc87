//! A layer around reqwest's connector that checks if the server requested the certificate.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_rustls::ClientAuthRecord;
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::Attempt;

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

impl<S> Layer<S> for ConnectionCheck {
    type Service = CheckedConnector<S>;

    fn layer(&self, inner: S) -> CheckedConnector<S> {
        CheckedConnector { inner, check: *self }
    }
}

/// A connector whose connections are checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedConnector<S> {
    inner: S,
    check: ConnectionCheck,
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
        let check = self.check;
        if matches!(check, ConnectionCheck::Refuse) {
            return Box::pin(async { Err(NotAuthorized.into()) });
        }
        let record = ClientAuthRecord::default();
        if let Some(attempt) = Attempt::current() {
            attempt.set_record(record.clone());
        }
        let connecting = self.inner.call(destination);
        Box::pin(async move {
            let connection = record.observe(connecting).await?;
            match check {
                ConnectionCheck::IdentityPresented if !record.is_presented() => Err(NotRequested.into()),
                _ => Ok(connection),
            }
        })
    }
}
