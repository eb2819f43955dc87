//! The body of an HTTP response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of a response.
pub(crate) enum ResponseBody {
    Whole(Option<Bytes>),
    /// A body that is cut off at half of its announced length.
    Torn {
        sent: Option<Bytes>,
        announced: u64,
        flushed: bool,
    },
    /// A stream of chunks.
    Stream(mpsc::Receiver<Bytes>),
}

impl ResponseBody {
    pub(crate) fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }

    pub(crate) fn torn(body: Bytes) -> Self {
        let announced = (body.len() as u64).max(1) * 2;
        Self::Torn { sent: Some(body), announced, flushed: false }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Torn { sent, flushed, .. } => {
                if let Some(body) = sent.take() {
                    return Poll::Ready(Some(Ok(Frame::data(body))));
                }
                if !*flushed {
                    // hyper flushes while the body is pending, and discards its buffer at an error.
                    *flushed = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
            Self::Stream(chunks) => {
                chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Torn { announced, .. } => SizeHint::with_exact(*announced),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
