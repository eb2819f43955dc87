//! Bodies of requests.

use std::any::Any;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// The body of a request, whatever its type.
pub type OutgoingBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Erases the type of a body, if it is not erased already. Its size is preserved, and data that is
/// `Bytes` already is not copied.
pub fn outgoing<B>(body: B) -> OutgoingBody
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = Some(body);
    let erased = (&mut body as &mut dyn Any).downcast_mut::<Option<OutgoingBody>>();
    if let Some(erased) = erased.and_then(Option::take) {
        return erased;
    }
    body.map(|body| BytesBody { body }.boxed_unsync()).unwrap_or_default()
}

pin_project! {
    /// A body whose data is `Bytes`.
    ///
    /// `BodyExt::map_frame` would lose the size, and with it `Content-Length`.
    struct BytesBody<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for BytesBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.project().body.poll_frame(context).map(|frame| {
            let frame = frame?.map_err(Into::into);
            Some(frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
