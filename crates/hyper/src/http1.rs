//! An HTTP/1.1 connection that its current request drives.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use symbolon_transport::{BODY_LIMIT, PhaseCell, RequestPhase, Response, stop_when};

use crate::interim::InterimCount;
use crate::stream::{HttpStream, StreamActivity};

/// An HTTP/1.1 connection that is ready for a request.
///
/// No task drives it: it advances only while a request or [`is_open`](Self::is_open) polls it.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended; dropping it wakes a waiting response.
    connection: Option<Connection<TokioIo<HttpStream>, Full<Bytes>>>,
    activity: StreamActivity,
}

/// The error of a request on a connection.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The body exceeds [`BODY_LIMIT`].
    TooLarge,
    /// The server sends interim responses and no other.
    InterimOnly,
    /// The connection was lost, or the response is not HTTP.
    Lost {
        error: hyper::Error,
        /// True if a part of the request may have been sent.
        is_sent: bool,
        /// True if at least one byte of a response had arrived.
        is_answered: bool,
    },
}

impl Http1Connection {
    pub(crate) async fn new(stream: HttpStream) -> Result<Self, hyper::Error> {
        let activity = stream.activity();
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(connection), activity })
    }

    /// Returns true if the server has not closed the idle connection, as far as is known here.
    pub(crate) async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            let _ended = self.poll_connection(context);
            Poll::Ready(self.connection.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Sends a request and receives the complete response. Returns the connection too, if it can be
    /// used again.
    pub(crate) async fn exchange(
        mut self,
        mut request: http::Request<Full<Bytes>>,
        phase: &PhaseCell,
    ) -> Result<(Response, Option<Self>), ExchangeError> {
        phase.enter(RequestPhase::Response);
        let interim = InterimCount::of(&mut request);
        self.activity.clear();
        let activity = self.activity.clone();
        let lost = |error| ExchangeError::Lost {
            error,
            is_sent: activity.is_written(),
            is_answered: activity.is_received(),
        };

        let response = self.sender.send_request(request);
        let exceeded = poll_fn(|_context| match interim.is_exceeded() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        // The count changes while the connection is polled, whose wakers poll both.
        let response = stop_when(exceeded, self.drive(response)).await;
        let response = response.map_err(|()| ExchangeError::InterimOnly)?;
        let (head, body) = response.map_err(lost)?.into_parts();
        phase.enter(RequestPhase::Body);
        let body = self.drive(collect(body)).await.map_err(lost)?.ok_or(ExchangeError::TooLarge)?;

        let response = Response::new(head.status, body).with_headers(head.headers);
        let is_reusable = self.is_open().await;
        Ok((response, is_reusable.then_some(self)))
    }

    /// Drives the connection until `future` is ready. If both fail, the error of the connection is
    /// the cause.
    async fn drive<T>(
        &mut self,
        future: impl Future<Output = Result<T, hyper::Error>>,
    ) -> Result<T, hyper::Error> {
        let mut future = pin!(future);
        let mut cause = None;
        poll_fn(|context| {
            if let Some(end) = self.poll_connection(context) {
                cause = end.err();
            }
            let output = future.as_mut().poll(context);
            output.map_err(|error| cause.take().unwrap_or(error))
        })
        .await
    }

    /// Polls the connection. Returns its result if it has just ended.
    fn poll_connection(&mut self, context: &mut Context<'_>) -> Option<Result<(), hyper::Error>> {
        match Pin::new(self.connection.as_mut()?).poll(context) {
            Poll::Pending => None,
            Poll::Ready(end) => {
                self.connection = None;
                Some(end)
            }
        }
    }
}

/// Adds `Content-Length: 0` to a request without content if its method expects some (RFC 9110
/// §8.6). hyper omits it, and some servers then refuse the request.
pub(crate) fn announce_no_content<B>(request: &mut http::Request<B>) {
    if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
}

/// Returns the whole body, or `None` if it exceeds the limit.
async fn collect(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > BODY_LIMIT {
        return Ok(None);
    }
    let mut collected = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        // Trailers are dropped: `Response` has no place for them.
        let Ok(data) = frame?.into_data() else { continue };
        if data.len() > BODY_LIMIT - collected.len() {
            return Ok(None);
        }
        collected.extend_from_slice(&data);
    }
    Ok(Some(collected.freeze()))
}
