//! Response bodies with a time limit between frames and a size limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use symbolon_hyper::ResponseBody;
use symbolon_transport::TransportError;
use symbolon_types::{Error, SharedClock, SteadyTime};

use crate::failure;

/// The default limit of a body that is read as a whole.
pub(crate) const WHOLE_BODY_LIMIT: usize = 16 << 20;

/// Reads a body up to a size limit.
pub(crate) async fn read_whole<B>(mut body: LimitedBody<B>, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error = TransportError> + Unpin,
{
    let mut whole = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(failure::too_large(limit as u64));
        }
        whole = match whole.is_empty() {
            true => data,
            false => {
                // Without a copy from the second time: nothing else holds the data.
                let mut joined = BytesMut::from(whole);
                joined.extend_from_slice(&data);
                joined.freeze()
            }
        };
    }
    Ok(whole)
}

/// The body of a response, as it arrives, with the limits of its client.
///
/// Dropping it before its end closes the connection over HTTP/1.1, and cancels the stream over
/// HTTP/2.
pub struct LimitedBody<B = ResponseBody> {
    body: B,
    limits: BodyLimits,
    received: u64,
    clock: SharedClock,
    /// The time since which the reader waits for the next frame.
    waiting_since: Option<SteadyTime>,
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    has_failed: bool,
}

/// The limits of a response body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// The time between two frames; `None` for no limit.
    pub(crate) read_timeout: Option<Duration>,
    /// The size in bytes.
    pub(crate) size: Option<u64>,
}

impl<B> LimitedBody<B> {
    pub(crate) fn new(body: B, limits: BodyLimits, clock: SharedClock) -> Self {
        Self { body, limits, received: 0, clock, waiting_since: None, timer: None, has_failed: false }
    }

    /// Polls the timer. Ready with its limit when no frame has arrived in time.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Duration> {
        let Some(limit) = self.limits.read_timeout else { return Poll::Pending };
        let since = *self.waiting_since.get_or_insert_with(|| self.clock.timer_now());
        let mut left = limit;
        loop {
            let timer = self.timer.get_or_insert_with(|| {
                let clock = self.clock.clone();
                Box::pin(async move { clock.sleep(left).await })
            });
            ready!(timer.as_mut().poll(context));
            // A timer that was started for an earlier frame ends too early for this one.
            self.timer = None;
            let waited = self.clock.timer_now().since(since);
            left = limit.saturating_sub(waited);
            if left.is_zero() {
                return Poll::Ready(limit);
            }
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.limits.size {
            Some(limit) if self.received > limit => Err(failure::too_large(limit)),
            _ => Ok(()),
        }
    }
}

symbolon_types::debug_fields!(LimitedBody<B>: limits, received);

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes, Error = TransportError> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        // Before the body, which may use up the budget of the task at each poll.
        let waited = this.waiting_since.is_some().then(|| this.poll_timer(context));
        let result = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since = None;
                this.count(&frame).map(|()| frame)
            }
            Poll::Ready(Some(Err(error))) => Err(failure::body_failed(error)),
            Poll::Pending => {
                let limit = ready!(waited.unwrap_or_else(|| this.poll_timer(context)));
                Err(failure::read_timed_out(limit))
            }
        };
        this.has_failed = result.is_err();
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
