//! Bodies whose trailers are cleaned as header fields are.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

/// A body with a function that removes fields of its trailers.
pub(crate) struct CleanTrailers<B> {
    body: B,
    clean: fn(&mut HeaderMap),
}

impl<B> CleanTrailers<B> {
    pub(crate) fn new(body: B, clean: fn(&mut HeaderMap)) -> Self {
        Self { body, clean }
    }
}

impl<B: Body + Unpin> Body for CleanTrailers<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let clean = self.clean;
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                clean(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::headers::{clean_request_trailers, clean_response};

    async fn kept(names: &[&'static str], clean: fn(&mut HeaderMap)) -> Vec<String> {
        let field = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("x"));
        let trailers: HeaderMap = names.iter().map(field).collect();
        let body = Full::new(Bytes::from("body")).with_trailers(ready(Some(Ok::<_, Infallible>(trailers))));
        let body = CleanTrailers::new(body, clean).collect().await.unwrap();
        let kept = body.trailers().unwrap().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(body.to_bytes(), "body");
        kept
    }

    #[tokio::test]
    async fn trailers_are_cleaned() {
        let names = ["x-sum", "authorization", "x-arr-clientcert", "x-symbolon-secret", "connection"];
        assert_eq!(kept(&names, clean_request_trailers).await, ["x-sum"]);
        assert_eq!(kept(&["grpc-status", "x-symbolon-error"], clean_response).await, ["grpc-status"]);
    }
}
