//! Pooled connections with streaming bodies, over HTTP/1.1 and HTTP/2.

mod builder;
mod exchange_waker;
mod failure;
mod http1;
mod http2;
mod origin_pool;
mod outgoing;
mod pools;
mod response_body;
mod upload;

pub use builder::ConnectionsBuilder;
pub use failure::SendFailure;
pub use outgoing::{OutgoingBody, outgoing};
pub use pools::Connections;
pub use response_body::ResponseBody;
pub use upload::{UploadBody, UploadGuard};
