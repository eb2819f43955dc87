//! The stream below TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_hyper::AsyncStream;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The size of the buffer, which holds a record of a usual response.
const BUFFER_SIZE: usize = 4096;

/// The stream below TLS, with a buffer for what was received: OpenSSL reads the header of a record
/// apart from the rest.
pub(crate) struct BufferedStream {
    stream: BufReader<Box<dyn AsyncStream>>,
    /// True if the stream took not all that was written last.
    is_write_pending: bool,
}

impl BufferedStream {
    pub(crate) fn new(stream: Box<dyn AsyncStream>) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER_SIZE, stream), is_write_pending: false }
    }

    /// Waits until TLS can go on: until something was received, unless it has to write first.
    pub(crate) fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_write_pending {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_fill_buf(context).map_ok(|_received| ())
    }

    fn noted<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_write_pending = polled.is_pending();
        polled
    }
}

impl AsyncRead for BufferedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BufferedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    // TLS that has to write first, in a renegotiation, would wait for ever.
    #[tokio::test]
    async fn pending_write_precedes_input() {
        let (stream, mut peer) = tokio::io::duplex(1);
        let mut stream = BufferedStream::new(Box::new(stream));
        let mut context = Context::from_waker(Waker::noop());
        assert!(stream.poll_progress(&mut context).is_pending());
        let mut write = |stream: &mut BufferedStream| Pin::new(stream).poll_write(&mut context, b"x");
        assert!(write(&mut stream).is_ready() && write(&mut stream).is_pending());
        assert!(stream.poll_progress(&mut Context::from_waker(Waker::noop())).is_ready());
        peer.read_u8().await.unwrap();
        assert!(Pin::new(&mut stream).poll_write(&mut Context::from_waker(Waker::noop()), b"x").is_ready());
        assert!(stream.poll_progress(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}
