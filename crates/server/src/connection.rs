//! One connection with limits on size and time.
//!
//! A connection that waits for a request holds its stream and its slot only. HTTP, with buffers of
//! 16 KiB and more, begins with the first octet, and ends shortly after the last one of a response.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::TokioExecutor;
use symbolon_types::SharedClock;

use crate::exchange::{self, Connections, PendingBody};
use crate::handler::ClientConnection;
use crate::http1::{Http1Connection, Http1End};
use crate::io::{ConnectionIo, HTTP2_PREFACE, close, read_preface};
use crate::listener::{Accepted, ClientStream};
use crate::slots::{ConnectionSlot, Expiry};

/// The time in which a stopped server serves further requests of its connections, so that those
/// that are on their way are not lost.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The time in which a client can acknowledge the end of an HTTP/2 connection, or read the last
/// response over HTTP/1.1.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Serves one connection until the client closes it, its slot expires, or the server stops.
pub(crate) async fn serve_connection(
    (mut stream, peer): Accepted,
    slot: ConnectionSlot,
    shared: Arc<Connections>,
) {
    let _open = shared.metrics.open_connection();
    let connection = Arc::new(ClientConnection::new(peer, slot));
    if shared.handler.is_trusted(peer) && connection.slot.authenticate().await.is_err() {
        return;
    }
    {
        let mut ended = pin!(ended(&connection.slot, &shared));
        let mut is_first = true;
        loop {
            let readable = poll_fn(|context| stream.poll_readable(context));
            tokio::select! {
                // A request that has already arrived is served.
                biased;
                readable = readable => if readable.is_err() { return },
                _ended = &mut ended => return,
            }
            // In a box, which an idle connection does not hold.
            let served = Box::pin(serve_http(stream, is_first, &connection, &shared, ended.as_mut()));
            match served.await {
                Some(idle) => stream = idle,
                None => break,
            }
            is_first = false;
        }
    }
    if let Some(tunnel) = connection.take_tunnel() {
        tunnel.await;
    }
}

/// Returns when the connection has to end.
async fn ended(slot: &ConnectionSlot, shared: &Connections) -> Expiry {
    let mut stopped = shared.stopped.clone();
    tokio::select! {
        biased;
        expiry = slot.expired() => return expiry,
        // An error means that the server was dropped, which stops it as well.
        _stopped = stopped.wait_for(|stop| *stop) => {}
    }
    shared.clock.sleep(LAST_REQUESTS).await;
    Expiry::Idle
}

/// Serves requests until no other one has arrived after a response over HTTP/1.1; then returns the
/// stream. Returns nothing if the connection is closed, or has become a tunnel.
async fn serve_http(
    mut stream: Box<dyn ClientStream>,
    is_first: bool,
    connection: &Arc<ClientConnection>,
    shared: &Arc<Connections>,
    mut ended: Pin<&mut impl Future<Output = Expiry>>,
) -> Option<Box<dyn ClientStream>> {
    let mut begin = Bytes::new();
    // HTTP/2 with prior knowledge can only begin a connection.
    if is_first {
        tokio::select! {
            biased;
            read = read_preface(&mut stream) => begin = read.ok()?,
            _ended = &mut ended => return None,
        }
    }
    let service = || exchange::service(connection, shared);
    if begin == HTTP2_PREFACE {
        let io = ConnectionIo::new(stream, begin, Arc::clone(connection));
        serve_http2(shared.protocols.http2.serve_connection(io, service()), connection, shared, ended).await;
        return None;
    }
    loop {
        let io = ConnectionIo::new(stream, begin, Arc::clone(connection));
        let mut http = Http1Connection::new(shared, io, service(), Arc::clone(connection));
        let expiry = tokio::select! {
            biased;
            end = poll_fn(|context| http.poll_until_idle(context)) => match end {
                Http1End::Closed(None) => return None,
                Http1End::Closed(Some(closing)) => {
                    connection.slot.release();
                    tokio::select! {
                        () = close(closing) => {}
                        _ended = &mut ended => {}
                        () = shared.clock.sleep(CLOSING_TIME) => {}
                    }
                    return None;
                }
                Http1End::Idle(idle, read) if read.is_empty() => return Some(idle),
                Http1End::Idle(idle, read) => {
                    (stream, begin) = (idle, read);
                    continue;
                }
            },
            expiry = &mut ended => expiry,
        };
        if expiry == Expiry::Idle {
            http.graceful_shutdown();
            tokio::select! {
                () = poll_fn(|context| http.poll_closed(context)) => {}
                () = finished(&connection.slot, &shared.clock) => {}
            }
        }
        return None;
    }
}

async fn serve_http2<S>(
    http: http2::Connection<ConnectionIo, S, TokioExecutor>,
    connection: &ClientConnection,
    shared: &Connections,
    ended: Pin<&mut impl Future<Output = Expiry>>,
) where
    S: HttpService<hyper::body::Incoming, ResBody = PendingBody>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = pin!(http);
    let expiry = tokio::select! {
        biased;
        // Errors of a client's connection do not matter to the server.
        _ended = &mut http => return,
        expiry = ended => expiry,
    };
    if expiry == Expiry::Idle {
        http.as_mut().graceful_shutdown();
        tokio::select! {
            _ended = &mut http => {}
            () = finished(&connection.slot, &shared.clock) => {}
        }
    }
}

/// Returns when a connection that is closing has no request and had time to close.
async fn finished(slot: &ConnectionSlot, clock: &SharedClock) {
    loop {
        clock.sleep(CLOSING_TIME).await;
        if slot.is_idle() {
            return;
        }
    }
}
