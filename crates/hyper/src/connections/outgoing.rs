//! Bodies of requests.

use std::error::Error;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;

/// The body of a request, whatever its type.
pub type OutgoingBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Erases the type of a body. Data that is `Bytes` already is not copied.
pub fn outgoing<B>(body: B) -> OutgoingBody
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        .map_err(Into::into)
        .boxed_unsync()
}
