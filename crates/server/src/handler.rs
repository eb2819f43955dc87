//! The interface between a server and the code that answers its requests.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};

use crate::peer::Peer;
use crate::slots::{Busy, ConnectionSlot};

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

/// The code that answers the requests of a server.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. A request that is authentic calls
    /// [`authenticate`](ClientConnection::authenticate) before anything that may take time.
    fn respond(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        connection: &Arc<ClientConnection>,
    ) -> ResponseFuture;

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
    tunnel: Mutex<Option<Tunnel>>,
}

impl ClientConnection {
    pub(crate) fn new(peer: Peer, slot: ConnectionSlot) -> Self {
        Self { peer, slot: Arc::new(slot), tunnel: Mutex::new(None) }
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

    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConnection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
