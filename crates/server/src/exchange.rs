//! The requests of a connection and their responses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use symbolon_types::SharedClock;
use tokio::sync::{Semaphore, watch};

use crate::handler::{ClientConnection, Handler, RequestBody, ServerBody};
use crate::metrics::Metrics;
use crate::settings::ServerSettings;
use crate::slots::PendingRequest;
use crate::transfer_coding::TransferCodingError;

/// HTTP/2 requests at the same time on one connection.
const MAX_STREAMS: u32 = 256;
/// The interval of pings on HTTP/2 connections with requests, which detect a client that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The settings of HTTP for all connections of a server.
pub(crate) struct HttpProtocols {
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
}

impl HttpProtocols {
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let mut http1 = http1::Builder::new();
        http1.max_buf_size(settings.max_head_size).max_headers(settings.max_headers);
        http1.half_close(settings.answers_half_closed);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(settings.max_head_size).unwrap_or(u32::MAX));
        Self { http1, http2 }
    }
}

/// The state that all connections of a server share.
pub(crate) struct Connections {
    pub(crate) protocols: HttpProtocols,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: SharedClock,
    pub(crate) stopped: watch::Receiver<bool>,
    /// The permits of connections that keep the buffers of HTTP/1.1 for a next request.
    pub(crate) warm: Arc<Semaphore>,
}

/// Returns the service of a connection. It fails for a request that may be a part of the body
/// before it.
pub(crate) fn service(
    connection: &Arc<ClientConnection>,
    shared: &Arc<Connections>,
) -> impl Service<Request<Incoming>, Response = Response<PendingBody>, Error = io::Error, Future: Send + 'static>
+ use<> {
    let (connection, shared) = (Arc::clone(connection), Arc::clone(shared));
    service_fn(move |request: Request<Incoming>| {
        let version = request.version();
        let pending = connection.slot.begin(version);
        let last_chunks = connection.take_last_chunks();
        let coding = TransferCodingError::check(request.headers());
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let request = request.map(|body| RequestBody::new(body, is_chunked, &connection));
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(&shared));
        async move {
            if let Some(ended) = last_chunks {
                ended.await.map_err(|_uncertain| io::Error::from(io::ErrorKind::InvalidData))?;
            }
            let mut response = match coding {
                Ok(()) => Arc::clone(&shared.handler).respond(request, &connection).await,
                Err(error) => {
                    drop(request);
                    shared.handler.refuse(error, connection.peer())
                }
            };
            shared.metrics.count_response(response.status());
            let is_last =
                !connection.slot.may_stay() || connection.is_last_request() || *shared.stopped.borrow();
            if is_last && version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| PendingBody { body, _pending: pending }))
        }
    })
}

/// A body whose request is pending until it has been sent.
pub(crate) struct PendingBody {
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
