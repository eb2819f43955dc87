//! The interface between a server and the code that answers its requests.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::peer::Peer;
use crate::progress::RequestProgress;
use crate::slots::{Busy, ConnectionSlot};
use crate::transfer_coding::TransferCodingError;

/// The body of a response, whatever its type.
pub type ServerBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The response of a [`Handler`]. It cannot fail: errors are responses.
pub type ResponseFuture = Pin<Box<dyn Future<Output = http::Response<ServerBody>> + Send>>;

/// Erases the type of a body. Its frames and its size are preserved.
pub fn server_body<B>(body: B) -> ServerBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The body of a request. It records its end, after which the connection can wait for the next
/// request.
pub struct RequestBody {
    body: Incoming,
    number: u64,
    connection: Arc<ClientConnection>,
    /// Receives the end of a body in chunks. Dropped if this end is uncertain.
    chunks_ended: Option<oneshot::Sender<()>>,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, is_chunked: bool, connection: &Arc<ClientConnection>) -> Self {
        let number = connection.progress.begin();
        let chunks_ended = is_chunked.then(|| connection.begin_chunks());
        let request = Self { body, number, connection: Arc::clone(connection), chunks_ended };
        request.record_end();
        request
    }

    fn record_end(&self) {
        if self.body.is_end_stream() {
            self.connection.progress.body_ended(self.number);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match frame {
            Poll::Ready(None) => {
                self.connection.progress.body_ended(self.number);
                if let Some(ended) = self.chunks_ended.take() {
                    let _sent = ended.send(());
                }
            }
            Poll::Ready(Some(Ok(ref frame))) => {
                if frame.is_trailers() {
                    self.chunks_ended = None;
                }
                self.record_end();
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The code that answers the requests of a server.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. A request that is authentic calls
    /// [`authenticate`](ClientConnection::authenticate) before anything that may take time.
    fn respond(
        self: Arc<Self>,
        request: http::Request<RequestBody>,
        connection: &Arc<ClientConnection>,
    ) -> ResponseFuture;

    /// Returns the response to a request that the server refuses because of its transfer codings.
    /// The connection ends after it.
    fn refuse(&self, error: TransferCodingError, peer: Peer) -> http::Response<ServerBody>;

    /// Returns true if a connection of this client is authenticated before its first request.
    /// Default: none is.
    fn is_trusted(&self, _peer: Peer) -> bool {
        false
    }
}

type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The connection of a request.
pub struct ClientConnection {
    peer: Peer,
    pub(crate) slot: Arc<ConnectionSlot>,
    pub(crate) progress: RequestProgress,
    /// The end of the last body in chunks, unless it is certain.
    last_chunks: Mutex<Option<oneshot::Receiver<()>>>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl ClientConnection {
    pub(crate) fn new(peer: Peer, slot: ConnectionSlot) -> Self {
        Self {
            peer,
            slot: Arc::new(slot),
            progress: RequestProgress::default(),
            last_chunks: Mutex::new(None),
            tunnel: Mutex::new(None),
        }
    }

    /// Returns the client.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Moves the connection to a slot that only authenticated connections get. Without this call,
    /// a connection ends after the response, and after a second.
    ///
    /// # Errors
    /// [`Busy`] if too many others wait for a slot.
    pub async fn authenticate(&self) -> Result<(), Busy> {
        self.slot.authenticate().await
    }

    /// Continues the connection with this future, once HTTP has ended on it with a status of 101.
    pub fn continue_with(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(tunnel));
    }

    fn begin_chunks(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        *self.last_chunks.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
        sender
    }

    /// Returns the end of the last body in chunks. Without its message, the next octets may belong
    /// to this body: hyper searches for the end of trailers by CRLF, and reads their fields up to
    /// an empty line, which may also end with LF alone (RFC 9112 §2.2).
    pub(crate) fn take_last_chunks(&self) -> Option<oneshot::Receiver<()>> {
        self.last_chunks.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns true if no other request can follow the last body in chunks.
    pub(crate) fn is_last_request(&self) -> bool {
        let mut last = self.last_chunks.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(TryRecvError::Closed)) => return true,
            Some(Ok(())) => *last = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        false
    }

    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConnection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
