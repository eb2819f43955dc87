//! The byte stream of a connection.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TCP connection, with or without TLS, that records if bytes were received.
#[derive(Debug)]
pub(crate) struct HttpStream {
    carrier: Box<dyn AsyncStream>,
    received: Received,
}

/// A flag that is set when bytes are received, until it is cleared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Arc<AtomicBool>);

impl Received {
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn anything(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl HttpStream {
    pub(crate) fn new(carrier: impl AsyncStream + 'static) -> Self {
        Self { carrier: Box::new(carrier), received: Received::default() }
    }

    /// Returns the flag for decrypted bytes.
    pub(crate) fn received(&self) -> Received {
        self.received.clone()
    }
}

/// A stream of TCP or TLS.
pub(crate) trait AsyncStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

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
            self.received.0.store(true, Ordering::Relaxed);
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
        Pin::new(&mut self.carrier).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }
}
