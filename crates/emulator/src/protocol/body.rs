//! The body of an HTTP response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// The octets of a chunk: a multiple of 251, so that all chunks are equal.
const CHUNK: &[u8; 64 * 251] = &{
    let mut chunk = [0; 64 * 251];
    let mut index = 0;
    while index < chunk.len() {
        chunk[index] = (index % 251) as u8;
        index += 1;
    }
    chunk
};

/// The body of a response.
pub(crate) enum ResponseBody {
    Whole(Option<Bytes>),
    /// A body that is cut off at half of its announced length.
    Torn {
        sent: Option<Bytes>,
        announced: u64,
        flushed: bool,
    },
    /// Octets that are produced while they are sent, of which `missing` are not sent.
    Octets {
        remaining: u64,
        missing: u64,
        flushed: bool,
    },
    /// The body of the request.
    Echo(Incoming),
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

    /// Returns a body of `length` octets, of which `missing` are announced only. The octet at a
    /// position is the remainder of its division by 251, so that a lost or a moved part is visible.
    pub(crate) fn octets(length: u64, missing: u64) -> Self {
        Self::Octets { remaining: length, missing, flushed: false }
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
                abort(flushed, context)
            }
            Self::Octets { remaining, missing, .. } if *remaining > *missing => {
                let length = CHUNK.len().min(usize::try_from(*remaining - *missing).unwrap_or(usize::MAX));
                *remaining -= length as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
            }
            Self::Octets { missing: 0, .. } => Poll::Ready(None),
            Self::Octets { flushed, .. } => abort(flushed, context),
            Self::Echo(body) => {
                let failed = |error: hyper::Error| io::Error::other(error);
                Pin::new(body).poll_frame(context).map_err(failed)
            }
            Self::Stream(chunks) => {
                chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(None) | Self::Octets { remaining: 0, .. } => true,
            Self::Echo(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Torn { announced, .. } => SizeHint::with_exact(*announced),
            Self::Octets { remaining, .. } => SizeHint::with_exact(*remaining),
            Self::Echo(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Ends a body with an error once its octets are flushed: hyper flushes while the body is pending,
/// and discards its buffer at an error.
fn abort(flushed: &mut bool, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
    if *flushed {
        return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
    }
    *flushed = true;
    context.waker().wake_by_ref();
    Poll::Pending
}
