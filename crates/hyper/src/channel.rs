//! One HTTP connection, driven by the request that uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use symbolon_transport::{BODY_LIMIT, Response};

use crate::stream::{Received, Stream};

/// An HTTP/1.1 connection that is ready for a request.
///
/// There is no task behind it: it moves only while a request, or a look at its state, polls it.
#[derive(Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    /// Gone when it has ended, and with it whatever could keep a response waiting.
    connection: Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
    received: Received,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The body is over [`BODY_LIMIT`].
    TooLarge,
    /// The connection was lost, or what came was not HTTP.
    Lost {
        error: hyper::Error,
        /// Whether at least one byte of a response had come.
        is_answered: bool,
    },
}

impl Channel {
    pub(crate) async fn new(stream: Stream) -> Result<Self, hyper::Error> {
        let received = stream.received();
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(connection), received })
    }

    /// Whether a kept connection is still open, as far as this side has heard.
    pub(crate) async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            let _ended = self.poll_connection(context);
            Poll::Ready(self.connection.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Sends a request and receives the complete response; gives the connection back if it can be
    /// used again.
    pub(crate) async fn exchange(
        mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(Response, Option<Self>), Failure> {
        self.received.clear();
        let received = self.received.clone();
        let lost = |error| Failure::Lost { error, is_answered: received.anything() };

        let response = self.sender.send_request(request);
        let (head, body) = self.drive(response).await.map_err(lost)?.into_parts();
        let body = self.drive(collect(body)).await.map_err(lost)?.ok_or(Failure::TooLarge)?;

        let response = Response::new(head.status, body).with_headers(head.headers);
        let is_reusable = self.is_open().await;
        Ok((response, is_reusable.then_some(self)))
    }

    /// Drives the connection until a future that waits for it is ready. If both fail, the
    /// connection knows better why.
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

    /// Moves the connection on, and tells how it ended if it did so now.
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

/// The whole body, or `None` if it is over the limit.
async fn collect(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > BODY_LIMIT {
        return Ok(None);
    }
    let mut collected = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that a caller of this transport could see.
        let Ok(data) = frame?.into_data() else { continue };
        if data.len() > BODY_LIMIT - collected.len() {
            return Ok(None);
        }
        collected.extend_from_slice(&data);
    }
    Ok(Some(collected.freeze()))
}
