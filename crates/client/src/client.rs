//! The client.

use std::error::Error as StdError;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::Full;
use symbolon_hyper::{Connections, OutgoingBody, ResponseBody, outgoing};
use symbolon_token::Token;
use symbolon_types::Error;
use tower_service::Service;

use crate::body::{LimitedBody, WHOLE_BODY_LIMIT, read_whole};
use crate::call::{Call, CallToken};
use crate::connections::HttpConnections;
use crate::settings::ClientSettings;

/// An HTTP client for one resource. Clones are cheap and share connections.
///
/// It is a [`Service`] of tower; [`get`](Self::get) and [`post`](Self::post) build requests without
/// tower. `C` is the type of its [connections](crate::ClientBuilder::connections).
pub struct Client<C = Connections>(pub(crate) Arc<ClientSettings<C>>);

impl<C> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

symbolon_types::debug_fields!(Client<C> |this| settings: this.0);

impl<C: HttpConnections> Client<C> {
    /// Sends a request with a body of any type.
    ///
    /// # Errors
    /// The errors of the token, and these:
    ///
    /// | code | cause |
    /// |---|---|
    /// | `insecure_endpoint`, `invalid_request`, `host_not_allowed` | the URL; nothing was sent |
    /// | `certificate_refused_by_resource` | the resource refused the certificate of the token |
    /// | `request_body_failed` | the body returned an error |
    /// | `timeout` | the deadline |
    /// | `transport_error`, `invalid_response` | the connection |
    pub fn send<B>(&self, request: http::Request<B>) -> CallFuture<C::Body>
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.start(CallToken::OfProvider, request.map(outgoing))
    }

    /// Like [`send`](Self::send), without a token and without a certificate, for example to get the
    /// challenge of a resource. An `Authorization` header is removed.
    ///
    /// # Errors
    /// Those of [`send`](Self::send), except those of the token and of the certificate.
    pub fn send_anonymously<B>(&self, request: http::Request<B>) -> CallFuture<C::Body>
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.start(CallToken::None, request.map(outgoing))
    }

    /// Returns the resource or the scopes of the tokens, as the builder was given them.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// Requests the token of the next call, and with it the certificate, if they are not cached.
    /// Sends nothing to the resource.
    ///
    /// # Errors
    /// The errors of the token.
    pub async fn prepare(&self) -> Result<Token, Error> {
        self.0.token(None).await
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
        let response = self.start(CallToken::Given(token.clone()), request).await?;
        let (head, body) = response.into_parts();
        Ok(http::Response::from_parts(head, read_whole(body, WHOLE_BODY_LIMIT).await?))
    }

    fn start(&self, token: CallToken, request: http::Request<OutgoingBody>) -> CallFuture<C::Body> {
        CallFuture(match Call::new(Arc::clone(&self.0), token, request) {
            // By reference: a future reserves space for each place that a value is moved to.
            Ok(mut call) => Box::pin(async move { call.run().await }),
            Err(error) => Box::pin(ready(Err(error))),
        })
    }
}

impl<B, C> Service<http::Request<B>> for Client<C>
where
    C: HttpConnections,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = http::Response<LimitedBody<C::Body>>;
    type Error = Error;
    type Future = CallFuture<C::Body>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> CallFuture<C::Body> {
        self.send(request)
    }
}

/// The future of a call, ready with the head of the response. Dropping it cancels the call.
pub struct CallFuture<B = ResponseBody>(Pin<Box<dyn Future<Output = CallOutput<B>> + Send>>);

type CallOutput<B> = Result<http::Response<LimitedBody<B>>, Error>;

impl<B> Future for CallFuture<B> {
    type Output = CallOutput<B>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

symbolon_types::debug_fields!(CallFuture<B>);
