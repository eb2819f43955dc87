//! The ways to a resource: connections of the client, or a transport.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use symbolon_hyper::{OutgoingBody, ResponseBody};
use symbolon_token::Token;
use symbolon_transport::{
    LateCertificate, Request, Route, SharedTransport, Transport as _, TransportError, TransportErrorKind,
};
use symbolon_types::Error;

use crate::connections::{ConnectionFailure, HttpConnections};

/// The way of a request to the resource.
#[derive(Debug)]
pub(crate) enum Sender<C> {
    /// Connections with streaming bodies.
    Connections(C),
    /// A transport, which sends and receives whole bodies.
    Transport(SharedTransport),
}

impl<C: HttpConnections> Sender<C> {
    /// Sends a request with a token, if one is given, on a connection that presents its
    /// certificate. The outer error means that nothing was sent.
    pub(crate) async fn send(
        &self,
        token: Option<&Token>,
        request: http::Request<OutgoingBody>,
    ) -> Result<Result<http::Response<IncomingBody<C::Body>>, ConnectionFailure>, Error> {
        match self {
            Self::Connections(connections) => {
                let request = match token {
                    Some(token) => token.authorize_http(request)?,
                    None => request,
                };
                let sent = connections.send(request, token.and_then(Token::bound_to)).await;
                Ok(sent.map(|response| response.map(IncomingBody::Streaming)))
            }
            Self::Transport(transport) => Box::pin(send_whole(transport, token, request)).await,
        }
    }

    /// Returns true if the certificate can be presented after the handshake.
    pub(crate) fn renegotiates(&self) -> bool {
        match self {
            Self::Connections(connections) => connections.renegotiates(),
            Self::Transport(transport) => transport.capabilities().renegotiation(),
        }
    }

    /// Returns true if a request whose connection was lost has been sent again already, where that
    /// is permitted: a transport does it.
    pub(crate) fn repeats_lost_requests(&self) -> bool {
        matches!(self, Self::Transport(_))
    }
}

/// Sends a request with a transport.
async fn send_whole<B>(
    transport: &SharedTransport,
    token: Option<&Token>,
    request: http::Request<OutgoingBody>,
) -> Result<Result<http::Response<IncomingBody<B>>, ConnectionFailure>, Error> {
    let (head, body) = request.into_parts();
    let is_late = head.extensions.get::<LateCertificate>().is_some();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let error = TransportError::new(TransportErrorKind::Unsupported).with_source(error);
            return Ok(Err(error.with_unprocessed(true).into()));
        }
    };
    let request = http::Request::from_parts(head, body);
    let request = match token {
        Some(token) => token.authorize(request)?,
        None => match anonymous(request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error.into())),
        },
    };
    let whole = |body| IncomingBody::Whole(Full::new(body));
    let sent = transport.send(request.with_late_certificate(is_late)).await;
    Ok(sent.map(|response| http::Response::from(response).map(whole)).map_err(Into::into))
}

/// Returns a request without a token for a transport. Its URL was checked before.
fn anonymous(request: http::Request<Bytes>) -> Result<Request, TransportError> {
    let (head, body) = request.into_parts();
    let url = head.uri.to_string().parse();
    let url = url.map_err(|_| TransportError::new(TransportErrorKind::Unsupported))?;
    let mut anonymous = Request::new(head.method, url, Route::Public).with_body(body);
    *anonymous.headers_mut() = head.headers;
    Ok(anonymous)
}

/// The body of a response, before the limits of the client.
pub(crate) enum IncomingBody<B = ResponseBody> {
    Streaming(B),
    Whole(Full<Bytes>),
}

impl<B> Body for IncomingBody<B>
where
    B: Body<Data = Bytes, Error = TransportError> + Unpin,
{
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
