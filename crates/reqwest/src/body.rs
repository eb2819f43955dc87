//! Bodies of responses of reqwest.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use symbolon_client::UploadGuard;
use symbolon_transport::TransportError;

use crate::failure::body_failed;

/// The body of a response of reqwest.
#[derive(Debug)]
pub struct ReqwestBody {
    body: reqwest::Body,
    /// Dropped at the end of the response.
    upload: Option<UploadGuard>,
}

impl ReqwestBody {
    pub(crate) fn new(body: reqwest::Body, upload: UploadGuard) -> Self {
        let upload = Some(upload).filter(|_| !body.is_end_stream());
        Self { body, upload }
    }
}

impl Body for ReqwestBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if self.body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.upload = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(body_failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
