//! One connection with limits on size and time.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use symbolon_types::SharedClock;
use tokio::sync::watch;

use crate::handler::{ClientConnection, Handler, ServerBody};
use crate::listener::Accepted;
use crate::settings::ServerSettings;
use crate::slots::{ConnectionSlot, Expiry, PendingRequest};

/// The time in which a stopped server serves further requests of its connections, so that those
/// that are on their way are not lost.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The time in which a client can acknowledge the end of an HTTP/2 connection.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// HTTP/2 requests at the same time on one connection.
const MAX_STREAMS: u32 = 256;
/// The interval of pings on HTTP/2 connections with requests, which detect a client that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Returns the settings of HTTP for all connections of a server.
pub(crate) fn protocol(settings: &ServerSettings) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().max_buf_size(settings.max_head_size).max_headers(settings.max_headers);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(settings.max_head_size).unwrap_or(u32::MAX));
    http
}

/// Serves one connection until the client closes it, its slot expires, or the server stops.
pub(crate) async fn serve_connection(
    (stream, peer): Accepted,
    slot: ConnectionSlot,
    http: Arc<auto::Builder<TokioExecutor>>,
    handler: Arc<dyn Handler>,
    settings: Arc<ServerSettings>,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = Arc::new(ClientConnection::new(peer, slot));
    let slot = Arc::clone(&connection.slot);
    if handler.is_trusted(peer) && slot.authenticate().await.is_err() {
        return;
    }
    let clock = &settings.clock;
    let is_stopping = stopped.clone();
    let shared = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let version = request.version();
        let pending = shared.slot.begin();
        let response = Arc::clone(&handler).respond(request, &shared);
        let (slot, is_stopping) = (Arc::clone(&shared.slot), is_stopping.clone());
        async move {
            let mut response = response.await;
            let is_last = !slot.may_stay() || *is_stopping.borrow();
            if is_last && version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| PendingBody { body, _pending: pending }))
        }
    });
    {
        let mut http = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let is_stopped = tokio::select! {
            // A request that has already arrived is served.
            biased;
            // Errors of a client's connection do not matter to the server.
            _ended = &mut http => None,
            expiry = slot.expired() => match expiry {
                Expiry::Unauthenticated => return,
                Expiry::Idle => Some(false),
            },
            _stopped = stopped.wait_for(|stop| *stop) => Some(true),
        };
        let is_open = match is_stopped {
            None => false,
            Some(false) => true,
            Some(true) => tokio::select! {
                _ended = &mut http => false,
                () = clock.sleep(LAST_REQUESTS) => true,
            },
        };
        if is_open {
            http.as_mut().graceful_shutdown();
            tokio::select! {
                _ended = &mut http => {}
                () = finished(&slot, clock) => return,
            }
        }
    }
    if let Some(tunnel) = connection.take_tunnel() {
        tunnel.await;
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

/// A body whose request is pending until it has been sent.
struct PendingBody {
    body: ServerBody,
    _pending: PendingRequest,
}

impl Body for PendingBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
