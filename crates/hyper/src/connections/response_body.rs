//! Bodies of responses.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use symbolon_transport::TransportError;
use symbolon_types::SharedClock;
use tokio::sync::OwnedSemaphorePermit;

use super::failure::body_failed;
use super::http1::StreamingHttp1;
use super::origin_pool::OriginPool;
use super::upload::UploadGuard;

/// The body of a response, as it arrives.
///
/// Over HTTP/1.1, reading it drives the connection. At its end the connection can be used again;
/// dropped earlier, the connection is closed. Over HTTP/2, dropping it cancels the stream. The end
/// of the response is the end of the request: what was not sent of it is not sent any more.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    /// Dropped at the end of the exchange.
    exchange: Option<OpenExchange>,
}

/// The parts of an exchange that end with its response.
#[derive(Debug)]
pub(super) enum OpenExchange {
    /// The connection, and the pool that it returns to.
    Http1 {
        connection: Box<StreamingHttp1>,
        pool: Weak<OriginPool>,
        clock: SharedClock,
        permit: Option<OwnedSemaphorePermit>,
    },
    /// The upload, which may go on after the response.
    Http2 { _upload: UploadGuard, _permit: Option<OwnedSemaphorePermit> },
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, exchange: Option<OpenExchange>) -> Self {
        Self { incoming, exchange }
    }

    /// Ends the exchange of a complete body: returns the connection to its pool.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        let Some(OpenExchange::Http1 { mut connection, pool, clock, permit }) = self.exchange.take() else {
            return;
        };
        match pool.upgrade().filter(|_| connection.poll_open(context)) {
            Some(pool) => pool.keep(connection, clock.now()),
            None => drop(connection),
        }
        // The request that waits for the permit finds the connection.
        drop(permit);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let this = self.get_mut();
        let polled = match &mut this.exchange {
            Some(OpenExchange::Http1 { connection, .. }) => {
                connection.poll_frame(&mut this.incoming, context)
            }
            _ => Pin::new(&mut this.incoming).poll_frame(context),
        };
        let frame = match ready!(polled) {
            Some(Err(error)) => {
                this.exchange = None;
                return Poll::Ready(Some(Err(body_failed(error))));
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        };
        if frame.is_none() || this.incoming.is_end_stream() {
            this.release(context);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
