//! Requests and responses of the SDK as those of `http`.

use std::pin::Pin;
use std::task::{Context, Poll};

use azure_core::error::{Error as SdkError, ErrorKind as SdkErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body as SdkBody, Request as SdkRequest};
use bytes::Bytes;
use futures_util::Stream;
use http::header::SET_COOKIE;
use http_body::{Body, Frame, SizeHint};
use symbolon_client::LimitedBody;

use crate::failure::request_failed;

/// Returns the request of the SDK.
pub(crate) fn request_of(request: &SdkRequest) -> azure_core::Result<http::Request<RequestBody>> {
    let body =
        RequestBody { has_ended: request.body().is_empty() == Some(true), body: request.body().clone() };
    let mut converted =
        http::Request::builder().method(request.method().as_str()).uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        converted = converted.header(name.as_str(), value.as_str());
    }
    converted.body(body).map_err(|error| {
        SdkError::with_error(SdkErrorKind::Other, error, "the request is invalid; nothing was sent")
    })
}

/// Returns the response for the SDK. Its body is a stream.
pub(crate) fn response_of(response: http::Response<LimitedBody>) -> AsyncRawResponse {
    let (head, body) = response.into_parts();
    let mut headers = Headers::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let separator = if name == SET_COOKIE { "; " } else { ", " };
        let joined = values.collect::<Vec<_>>().join(separator);
        headers.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(joined));
    }
    AsyncRawResponse::new(head.status.as_u16().into(), headers, Box::pin(BodyStream(body)))
}

/// The body of a request of the SDK.
pub(crate) struct RequestBody {
    body: SdkBody,
    has_ended: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = SdkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SdkError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match &mut self.body {
            SdkBody::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.has_ended = true;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            SdkBody::SeekableStream(stream) => {
                let polled = Pin::new(&mut **stream).poll_next(context);
                if let Poll::Ready(None | Some(Err(_))) = polled {
                    self.has_ended = true;
                }
                polled.map_ok(Frame::data)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    /// The size before anything is read; afterwards it is unknown.
    fn size_hint(&self) -> SizeHint {
        match (self.has_ended, self.body.len()) {
            (true, _) => SizeHint::with_exact(0),
            (false, Some(length)) => SizeHint::with_exact(length),
            (false, None) => SizeHint::default(),
        }
    }
}

/// The data of a response.
struct BodyStream(LimitedBody);

impl Stream for BodyStream {
    type Item = azure_core::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(context));
            return Poll::Ready(match frame {
                // Trailers have no place in the SDK.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_) => continue,
                },
                Some(Err(error)) => Some(Err(request_failed(error))),
                None => None,
            });
        }
    }
}
