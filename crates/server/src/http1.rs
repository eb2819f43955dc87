//! HTTP/1.1 on a connection, from the first octet of a request to the last of a response.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use symbolon_types::{Clock as _, SystemClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::{Connections, PendingBody};
use crate::handler::ClientConnection;
use crate::io::ConnectionIo;
use crate::listener::ClientStream;

/// The time for which a connection keeps the buffers of HTTP/1.1 after a response, because a next
/// request often follows at once. It is real time also in tests.
const QUIET_TIME: Duration = Duration::from_millis(100);
/// The number of connections that keep buffers, which bounds their memory.
pub(crate) const MAX_WARM: usize = 128;

/// HTTP/1.1 on a connection.
pub(crate) struct Http1Connection<S: HttpService<Incoming>> {
    /// `None` once it has been taken apart.
    http: Option<UpgradeableConnection<ConnectionIo, S>>,
    connection: Arc<ClientConnection>,
    warm: Arc<Semaphore>,
    /// The number of the last request before.
    before: u64,
    quiet: Option<QuietTimer>,
}

/// The wait for a time in which no request arrives.
struct QuietTimer {
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The last request when it was started.
    last: u64,
    _permit: OwnedSemaphorePermit,
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
        shared: &Connections,
        io: ConnectionIo,
        service: S,
        connection: Arc<ClientConnection>,
    ) -> Self {
        let before = connection.progress.last();
        let http = shared.protocols.http1.serve_connection(io, service).with_upgrades();
        Self { http: Some(http), connection, warm: Arc::clone(&shared.warm), before, quiet: None }
    }

    /// Serves requests until the connection is closed, or has had no request for a while after at
    /// least one was served.
    pub(crate) fn poll_until_idle(&mut self, context: &mut Context<'_>) -> Poll<Http1End> {
        if self.poll_closed(context).is_ready() {
            return Poll::Ready(self.closed());
        }
        if !self.poll_quiet(context) {
            return Poll::Pending;
        }
        let connection = &self.connection;
        connection.slot.rest();
        let Some(http) = &mut self.http else { return Poll::Ready(Http1End::Closed(None)) };
        if !connection.progress.is_complete_after(self.before) {
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

    /// Returns true if at least one request was served, and none has followed for a while.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> bool {
        let last = self.connection.progress.last();
        if last == self.before || !self.connection.slot.is_idle() {
            return false;
        }
        loop {
            let quiet = match &mut self.quiet {
                Some(quiet) => quiet,
                empty => {
                    let Ok(permit) = Arc::clone(&self.warm).try_acquire_owned() else { return true };
                    let sleep = Box::pin(async { SystemClock::new().sleep(QUIET_TIME).await });
                    empty.insert(QuietTimer { sleep, last, _permit: permit })
                }
            };
            if quiet.sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            let is_quiet = quiet.last == last;
            self.quiet = None;
            if is_quiet {
                return true;
            }
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
