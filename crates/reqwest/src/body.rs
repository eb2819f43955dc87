//! Bodies of responses of reqwest.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use symbolon_transport::TransportError;

use crate::failure::body_failed;

/// The body of a response of reqwest.
#[derive(Debug)]
pub struct ReqwestBody(pub(crate) reqwest::Body);

impl Body for ReqwestBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        Pin::new(&mut self.0).poll_frame(context).map_err(body_failed)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
