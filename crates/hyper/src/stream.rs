//! The byte stream of a connection.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use symbolon_rustls::{rustls, tls_error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TCP connection, with or without TLS, that records if bytes were written and received.
#[derive(Debug)]
pub(crate) struct HttpStream {
    carrier: Box<dyn AsyncStream>,
    activity: StreamActivity,
    /// True if the server can request a renegotiation, which the client refuses: over TLS 1.2.
    refuses_renegotiation: bool,
    #[cfg_attr(
        not(feature = "connections"),
        expect(dead_code, reason = "the transport offers HTTP/1.1 only")
    )]
    is_http2: bool,
}

/// Flags that are set when bytes are written or received, until they are cleared. Bytes of TLS
/// itself do not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamActivity(Arc<ActivityFlags>);

#[derive(Debug, Default)]
struct ActivityFlags {
    written: AtomicBool,
    received: AtomicBool,
    /// The TLS error that ended the stream: HTTP/2 reports only its text.
    tls_error: OnceLock<rustls::Error>,
}

impl StreamActivity {
    pub(crate) fn clear(&self) {
        self.0.written.store(false, Ordering::Relaxed);
        self.0.received.store(false, Ordering::Relaxed);
    }

    /// Returns true if a write was tried, even if it failed: a part may have been sent.
    pub(crate) fn is_written(&self) -> bool {
        self.0.written.load(Ordering::Relaxed)
    }

    pub(crate) fn is_received(&self) -> bool {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Returns the TLS error that ended the stream.
    #[cfg(feature = "connections")]
    pub(crate) fn tls_error(&self) -> Option<&rustls::Error> {
        self.0.tls_error.get()
    }

    fn set_written(&self) {
        self.0.written.store(true, Ordering::Relaxed);
    }
}

impl HttpStream {
    pub(crate) fn new(carrier: Box<dyn AsyncStream>, is_http2: bool, refuses_renegotiation: bool) -> Self {
        Self { carrier, activity: StreamActivity::default(), is_http2, refuses_renegotiation }
    }

    /// Returns true if HTTP/2 was negotiated.
    #[cfg(feature = "connections")]
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Returns the flags.
    pub(crate) fn activity(&self) -> StreamActivity {
        self.activity.clone()
    }

    /// Records the TLS error of an operation. Writing fails with that of a record received before.
    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = &polled else { return polled };
        let Some(error) = tls_error(error) else { return polled };
        if self.refuses_renegotiation && ends_refused_renegotiation(error) {
            let refused = RenegotiationRefused(error.clone());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, refused)));
        }
        let _first = self.activity.0.tls_error.set(error.clone());
        polled
    }
}

/// The server requested a renegotiation, which this client refused, and ended the connection.
///
/// It is not an error of rustls, which would be taken for that of a handshake.
#[derive(Debug, thiserror::Error)]
#[error("the server requested a TLS renegotiation, which was refused, and ended the connection: {0}")]
pub(crate) struct RenegotiationRefused(rustls::Error);

/// Returns true if a server ends a connection with this error after a refused renegotiation (RFC
/// 5246 §7.2.2). After the handshake of TLS 1.2, such an alert has no other reason.
fn ends_refused_renegotiation(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error, PeerMisbehaved};
    matches!(
        error,
        Error::AlertReceived(Alert::HandshakeFailure | Alert::NoRenegotiation)
            // The second request of the server.
            | Error::PeerMisbehaved(PeerMisbehaved::TooManyRenegotiationRequests)
    )
}

/// A stream of TCP or TLS.
pub trait AsyncStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> AsyncStream for S {}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.carrier).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.0.received.store(true, Ordering::Relaxed);
        }
        self.noted(polled)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.activity.set_written();
        let polled = Pin::new(&mut self.carrier).poll_write(context, bytes);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.carrier).poll_flush(context);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.set_written();
        let polled = Pin::new(&mut self.carrier).poll_write_vectored(context, slices);
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }
}
