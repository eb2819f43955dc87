//! The client.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::Body;
use symbolon_hyper::outgoing;
use symbolon_types::Error;
use tower_service::Service;

use crate::body::LimitedBody;
use crate::call;
use crate::settings::ClientSettings;

/// An HTTP client for one resource. Clones are cheap and share connections.
///
/// It is a [`Service`] of tower; [`get`](Self::get) and [`post`](Self::post) build requests without
/// tower.
#[derive(Clone, Debug)]
pub struct Client(pub(crate) Arc<ClientSettings>);

impl Client {
    /// Sends a request with a body of any type.
    ///
    /// # Errors
    /// The errors of the token, and these:
    ///
    /// | code | cause |
    /// |---|---|
    /// | `insecure_endpoint`, `invalid_request`, `host_not_allowed` | the URL; nothing was sent |
    /// | `certificate_refused_by_resource` | the resource refused the certificate of the token |
    /// | `timeout` | the deadline |
    /// | `transport_error`, `invalid_response` | the connection |
    pub fn send<B>(&self, request: http::Request<B>) -> CallFuture
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        CallFuture(Box::pin(call::send(Arc::clone(&self.0), request.map(outgoing))))
    }
}

impl<B> Service<http::Request<B>> for Client
where
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = http::Response<LimitedBody>;
    type Error = Error;
    type Future = CallFuture;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> CallFuture {
        self.send(request)
    }
}

/// The future of a call, ready with the head of the response. Dropping it cancels the call.
pub struct CallFuture(Pin<Box<dyn Future<Output = Result<http::Response<LimitedBody>, Error>> + Send>>);

impl Future for CallFuture {
    type Output = Result<http::Response<LimitedBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

symbolon_types::debug_fields!(CallFuture);
