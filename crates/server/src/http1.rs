//! HTTP/1.1 on a connection, from the first octet of a request to the last of a response.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::HttpService;

use crate::exchange::PendingBody;
use crate::handler::ClientConnection;
use crate::io::ConnectionIo;
use crate::listener::ClientStream;

/// HTTP/1.1 on a connection.
pub(crate) struct Http1Connection<S: HttpService<Incoming>> {
    /// `None` once it has been taken apart.
    http: Option<UpgradeableConnection<ConnectionIo, S>>,
    connection: Arc<ClientConnection>,
    /// The number of the last request before.
    before: u64,
}

/// The end of HTTP/1.1 on a connection.
pub(crate) enum Http1End {
    /// No more requests are served. The stream is returned unless it has become a tunnel.
    Closed(Option<Box<dyn ClientStream>>),
    /// The connection waits for a request, of which these octets were read.
    Idle(Box<dyn ClientStream>, Bytes),
}

impl<S> Http1Connection<S>
where
    S: HttpService<Incoming, ResBody = PendingBody>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(
        builder: &Builder,
        io: ConnectionIo,
        service: S,
        connection: Arc<ClientConnection>,
    ) -> Self {
        let before = connection.progress.last();
        Self { http: Some(builder.serve_connection(io, service).with_upgrades()), connection, before }
    }

    /// Serves requests until the connection is closed, or has no request after at least one was
    /// served.
    pub(crate) fn poll_until_idle(&mut self, context: &mut Context<'_>) -> Poll<Http1End> {
        if self.poll_closed(context).is_ready() {
            return Poll::Ready(self.closed());
        }
        let connection = &self.connection;
        let Some(http) = &mut self.http else { return Poll::Ready(Http1End::Closed(None)) };
        if !connection.slot.is_idle() || !connection.progress.is_complete_after(self.before) {
            return Poll::Pending;
        }
        // An idle connection ends at once; hyper itself decides if it is idle.
        connection.progress.set_suspending(true);
        Pin::new(&mut *http).graceful_shutdown();
        let ended = Pin::new(http).poll(context);
        connection.progress.set_suspending(false);
        match ended {
            Poll::Ready(Ok(())) => {
                let parts = self.http.take().and_then(UpgradeableConnection::into_parts);
                let Some(parts) = parts else { return Poll::Ready(Http1End::Closed(None)) };
                let (stream, unread) = parts.io.into_parts();
                let length = parts.read_buf.len() + unread.len();
                let octets = parts.read_buf.chain(unread).copy_to_bytes(length);
                Poll::Ready(Http1End::Idle(stream, octets))
            }
            Poll::Ready(Err(_)) => Poll::Ready(self.closed()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn closed(&mut self) -> Http1End {
        let parts = self.http.take().and_then(UpgradeableConnection::into_parts);
        Http1End::Closed(parts.map(|parts| parts.io.into_parts().0))
    }

    /// Serves requests until the connection is closed. Errors of a client's connection do not
    /// matter to the server.
    pub(crate) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.http {
            Some(http) => Pin::new(http).poll(context).map(|_ended| ()),
            None => Poll::Ready(()),
        }
    }

    /// Ends the connection with the request that is under way.
    pub(crate) fn graceful_shutdown(&mut self) {
        if let Some(http) = &mut self.http {
            Pin::new(http).graceful_shutdown();
        }
    }
}
