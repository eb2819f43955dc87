//! HTTP/2 connections, which requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use symbolon_rustls::ClientAuthRecord;

use super::http1::ExchangeFailure;
use super::outgoing::OutgoingBody;
use super::upload::{UploadBody, UploadGuard};
use crate::stream::{HttpStream, StreamActivity};

/// Interval between pings while requests run.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The time that a ping may take before the connection counts as lost.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP/2 connection. Clones share it.
///
/// A task of the current runtime drives it, because its requests have no common future.
#[derive(Clone, Debug)]
pub(super) struct SharedHttp2 {
    sender: SendRequest<UploadBody>,
    activity: StreamActivity,
    record: ClientAuthRecord,
    /// True once the server has responded to a request: it accepts the certificate.
    is_proven: Arc<AtomicBool>,
}

impl SharedHttp2 {
    pub(super) async fn new(stream: HttpStream, record: ClientAuthRecord) -> Result<Self, hyper::Error> {
        let activity = stream.activity();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Requests report the failure themselves.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the HTTP/2 connection ended");
            }
        });
        Ok(Self { sender, activity, record, is_proven: Arc::default() })
    }

    /// Returns false once the connection takes no more requests.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn activity(&self) -> &StreamActivity {
        &self.activity
    }

    /// Returns the record of the handshake until the server has responded to a request.
    pub(super) fn unproven_record(&self) -> Option<&ClientAuthRecord> {
        (!self.is_proven.load(Ordering::Relaxed)).then_some(&self.record)
    }

    /// Sends a request and receives the head of the response. Dropping the guard ends the upload.
    pub(super) async fn send(
        &mut self,
        request: Box<http::Request<OutgoingBody>>,
    ) -> Result<(http::Response<Incoming>, UploadGuard), ExchangeFailure> {
        let (head, body) = request.into_parts();
        let (body, guard) = UploadBody::new(body);
        let request = http::Request::from_parts(head, body);
        let response = self.sender.try_send_request(request).await.map_err(|mut failure| {
            let unsent = failure.take_message().map(|request| Box::new(request.map(UploadBody::into_inner)));
            ExchangeFailure::Lost(failure.into_error(), unsent)
        })?;
        self.is_proven.store(true, Ordering::Relaxed);
        Ok((response, guard))
    }
}
