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
    pub(crate) fn new(carrier: Box<dyn AsyncStream>, is_http2: bool) -> Self {
        Self { carrier, activity: StreamActivity::default(), is_http2 }
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
        if let Poll::Ready(Err(error)) = &polled
            && let Some(error) = tls_error(error)
        {
            let _first = self.activity.0.tls_error.set(error.clone());
        }
        polled
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.activity.set_written();
        Pin::new(&mut self.carrier).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(context)
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
        Pin::new(&mut self.carrier).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }
}
