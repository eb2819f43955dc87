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

/// The body of a response, as it arrives.
///
/// Over HTTP/1.1, reading it drives the connection. At its end the connection can be used again;
/// dropped earlier, the connection is closed. Over HTTP/2, dropping it cancels the stream.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    connection: Option<DrivenConnection>,
    /// Released at the end of the exchange.
    permit: Option<OwnedSemaphorePermit>,
}

/// The HTTP/1.1 connection of a body, and the pool that it returns to.
#[derive(Debug)]
pub(super) struct DrivenConnection {
    pub(super) connection: Box<StreamingHttp1>,
    pub(super) pool: Weak<OriginPool>,
    pub(super) clock: SharedClock,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        connection: Option<DrivenConnection>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { incoming, connection, permit }
    }

    /// Ends the exchange of a complete body: returns the connection to its pool.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        if let Some(mut driven) = self.connection.take()
            && driven.connection.poll_open(context)
            && let Some(pool) = driven.pool.upgrade()
        {
            pool.keep(driven.connection, driven.clock.now());
        }
        self.permit = None;
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
        let polled = match &mut this.connection {
            Some(driven) => driven.connection.poll_frame(&mut this.incoming, context),
            None => Pin::new(&mut this.incoming).poll_frame(context),
        };
        let frame = match ready!(polled) {
            Some(Err(error)) => {
                this.connection = None;
                this.permit = None;
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
