//! An answer as hyper sends it, and which server it comes from.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};

/// Which server a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Imds,
    Token,
    Resource,
    /// The identity endpoints of hosts without TLS.
    Hosts,
    /// That of Service Fabric.
    Fabric,
}

/// The body of an answer: whole, or breaking off after half of what was promised.
pub(crate) enum AnswerBody {
    Whole(Option<Bytes>),
    Torn { sent: Option<Bytes>, promised: u64, flushed: bool },
}

impl AnswerBody {
    pub(crate) fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }

    pub(crate) fn torn(body: Bytes) -> Self {
        let promised = (body.len() as u64).max(1) * 2;
        Self::Torn { sent: Some(body), promised, flushed: false }
    }
}

impl Body for AnswerBody {
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
                    // hyper flushes while it waits, and would drop what it holds at an error.
                    *flushed = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Torn { promised, .. } => SizeHint::with_exact(*promised),
        }
    }
}

/// An answer as hyper sends it.
pub(crate) type Answer = Response<AnswerBody>;
