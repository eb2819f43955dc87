//! Request bodies that end with the response.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::outgoing::OutgoingBody;

/// The body of a request, which ends with an error once its [`UploadGuard`] is dropped.
///
/// Over HTTP/2, a task of hyper sends a body, also after the response was dropped. The error resets
/// the stream.
pub struct UploadBody {
    body: OutgoingBody,
    guard: Receiver<Infallible>,
}

/// The guard of an [`UploadBody`], which belongs to the response.
#[derive(Debug)]
pub struct UploadGuard(#[expect(dead_code, reason = "dropping it is its effect")] Sender<Infallible>);

impl UploadBody {
    /// Wraps a body.
    pub fn new(body: OutgoingBody) -> (Self, UploadGuard) {
        let (sender, guard) = oneshot::channel();
        (Self { body, guard }, UploadGuard(sender))
    }

    pub(super) fn into_inner(self) -> OutgoingBody {
        self.body
    }
}

symbolon_types::debug_fields!(UploadBody);

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if !matches!(polled, Poll::Ready(None)) && Pin::new(&mut self.guard).poll(context).is_ready() {
            return Poll::Ready(Some(Err(h2::Error::from(Reason::CANCEL).into())));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
