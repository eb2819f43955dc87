//! The ways to a resource: connections of the client, or a transport.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use symbolon_hyper::{Connections, OutgoingBody, ResponseBody, SendFailure};
use symbolon_token::Token;
use symbolon_transport::{SharedTransport, Transport as _, TransportError, TransportErrorKind};
use symbolon_types::Error;

/// The way of a request to the resource.
#[derive(Debug)]
pub(crate) enum Sender {
    /// Connections with streaming bodies.
    Connections(Connections),
    /// A transport, which sends and receives whole bodies.
    Transport(SharedTransport),
}

impl Sender {
    /// Sends a request with a token, on a connection that presents its certificate. The outer error
    /// means that nothing was sent.
    pub(crate) async fn send(
        &self,
        token: &Token,
        request: http::Request<OutgoingBody>,
    ) -> Result<Result<http::Response<IncomingBody>, SendFailure>, Error> {
        match self {
            Self::Connections(connections) => {
                let request = token.authorize_http(request)?;
                let sent = connections.send(request, token.bound_to()).await;
                Ok(sent.map(|response| response.map(IncomingBody::Streaming)))
            }
            Self::Transport(transport) => {
                let (head, body) = request.into_parts();
                let body = match body.collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(error) => {
                        let error = TransportError::new(TransportErrorKind::Unsupported).with_source(error);
                        return Ok(Err(error.with_unprocessed(true).into()));
                    }
                };
                let request = token.authorize(http::Request::from_parts(head, body))?;
                let whole = |body| IncomingBody::Whole(Full::new(body));
                let sent = transport.send(request).await;
                Ok(sent.map(|response| http::Response::from(response).map(whole)).map_err(Into::into))
            }
        }
    }

    /// Returns true if a request whose connection was lost has been sent again already, where that
    /// is permitted: a transport does it.
    pub(crate) fn repeats_lost_requests(&self) -> bool {
        matches!(self, Self::Transport(_))
    }
}

/// The body of a response, before the limits of the client.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum IncomingBody {
    Streaming(ResponseBody),
    Whole(Full<Bytes>),
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        match self.get_mut() {
            Self::Streaming(body) => Pin::new(body).poll_frame(context),
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streaming(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
