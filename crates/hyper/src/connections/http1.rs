//! HTTP/1.1 connections that the current exchange drives.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::exchange_waker::ExchangeWaker;
use super::outgoing::OutgoingBody;
use crate::interim::InterimCount;
use crate::stream::{HttpStream, StreamActivity};

/// An HTTP/1.1 connection with streaming bodies.
///
/// No task drives it: it advances only while a request, a response body or
/// [`is_open`](Self::is_open) polls it, so no alert is lost between tasks.
#[derive(Debug)]
pub(super) struct StreamingHttp1 {
    sender: SendRequest<OutgoingBody>,
    /// `None` once the connection has ended; dropping it wakes a waiting response.
    connection: Option<ConnectionFuture>,
    activity: StreamActivity,
    waker: ExchangeWaker,
}

/// A connection that another protocol can take over (RFC 9110 §7.8). hyper does not name its type.
struct ConnectionFuture(Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>);

symbolon_types::debug_fields!(ConnectionFuture);

/// The error of an exchange.
pub(super) enum ExchangeFailure {
    /// The connection was lost, or the response is not HTTP; with the request if no part of it was
    /// written.
    Lost(hyper::Error, Option<Box<http::Request<OutgoingBody>>>),
    /// The server sends interim responses and no other.
    InterimOnly,
}

impl StreamingHttp1 {
    /// Creates a connection. It is on the heap, because each exchange moves it several times.
    pub(super) async fn new(stream: HttpStream) -> Result<Box<Self>, hyper::Error> {
        let activity = stream.activity();
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let connection = ConnectionFuture(Box::pin(connection.with_upgrades()));
        Ok(Box::new(Self { sender, connection: Some(connection), activity, waker: ExchangeWaker::new() }))
    }

    /// Starts the next exchange: its activity is recorded anew.
    pub(super) fn start(&self) {
        self.activity.clear();
    }

    pub(super) fn activity(&self) -> &StreamActivity {
        &self.activity
    }

    /// Sends a request and receives the head of the response.
    pub(super) async fn send(
        &mut self,
        mut request: Box<http::Request<OutgoingBody>>,
    ) -> Result<http::Response<Incoming>, ExchangeFailure> {
        let interim = InterimCount::of(&mut request);
        let Self { sender, connection, waker, .. } = self;
        // Sent by the first poll, because sending wakes the connection.
        let mut response = pin!(async { sender.try_send_request(*request).await });
        let mut cause = None;
        let mut poll = |context: &mut Context<'_>| {
            if let Some(Err(error)) = poll_connection(connection, context) {
                cause = Some(error);
            }
            if interim.is_exceeded() {
                *connection = None;
                return Poll::Ready(Err(ExchangeFailure::InterimOnly));
            }
            response.as_mut().poll(context).map_err(|mut failure| {
                let unsent = failure.take_message().map(Box::new);
                ExchangeFailure::Lost(cause.take().unwrap_or_else(|| failure.into_error()), unsent)
            })
        };
        poll_fn(|context| waker.poll(context, &mut poll)).await
    }

    /// Polls the next frame of the body of a response. If the connection has just ended, its error
    /// is that of the body.
    pub(super) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { connection, waker, .. } = self;
        let mut cause = None;
        waker.poll(context, |context| {
            if let Some(Err(error)) = poll_connection(connection, context) {
                cause = Some(error);
            }
            let polled = Pin::new(&mut *incoming).poll_frame(context);
            polled.map_err(|error| cause.take().unwrap_or(error))
        })
    }

    /// Polls the connection of a response with the status 101 to the end of HTTP. The extension
    /// `OnUpgrade` of the response is then ready.
    pub(super) async fn hand_over(mut self: Box<Self>) {
        let connection = &mut self.connection;
        poll_fn(|context| match poll_connection(connection, context) {
            None if connection.is_some() => Poll::Pending,
            _ended => Poll::Ready(()),
        })
        .await;
    }

    /// Returns true if the connection can be used for another request, as far as is known.
    pub(super) fn poll_open(&mut self, context: &mut Context<'_>) -> bool {
        let Self { connection, waker, .. } = self;
        let _pending = waker.poll(context, |context| -> Poll<()> {
            let _ended = poll_connection(connection, context);
            Poll::Pending
        });
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Like [`poll_open`](Self::poll_open), with the context of the caller.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll_open(context))).await
    }
}

fn poll_connection(
    connection: &mut Option<ConnectionFuture>,
    context: &mut Context<'_>,
) -> Option<Result<(), hyper::Error>> {
    match connection.as_mut()?.0.as_mut().poll(context) {
        Poll::Pending => None,
        Poll::Ready(end) => {
            *connection = None;
            Some(end)
        }
    }
}
