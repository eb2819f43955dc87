//! The client.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::Full;
use symbolon_hyper::outgoing;
use symbolon_token::Token;
use symbolon_types::Error;
use tower_service::Service;

use crate::body::{LimitedBody, WHOLE_BODY_LIMIT, read_whole};
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
        CallFuture(Box::pin(call::send(Arc::clone(&self.0), None, request.map(outgoing))))
    }

    /// Like [`send`](Self::send), with whole bodies of at most 16 MiB, and with this token first.
    /// Only where the resource makes another token necessary, one of the same owner is requested
    /// from the provider.
    ///
    /// # Errors
    /// Those of [`send`](Self::send) and [`ClientResponse::bytes`](crate::ClientResponse::bytes).
    pub async fn call_with(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        let request = request.map(|body| outgoing(Full::new(body)));
        let response = call::send(Arc::clone(&self.0), Some(token.clone()), request).await?;
        let (head, body) = response.into_parts();
        Ok(http::Response::from_parts(head, read_whole(body, WHOLE_BODY_LIMIT).await?))
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
