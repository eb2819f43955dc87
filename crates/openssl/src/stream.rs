//! Streams of TLS.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use openssl::ssl::Ssl;
use symbolon_hyper::AsyncStream;
use symbolon_rustls::rustls::{Error as RustlsError, OtherError};
use symbolon_rustls::tls_error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::buffered_stream::BufferedStream;
use crate::connection::ConnectionState;
use crate::failure::{of_operation, of_rustls, of_stream};
use crate::ffi;
use crate::key::observe_signatures;

/// A TLS stream of OpenSSL. The server may request the certificate while it is read or written.
pub(crate) struct OpensslStream {
    stream: SslStream<BufferedStream>,
    state: Arc<ConnectionState>,
    /// True if the last read filled its buffer: the record may contain more.
    has_more: bool,
    /// True if something was written since the last flush.
    is_flush_due: bool,
}

impl OpensslStream {
    /// Performs the handshake of a connection.
    pub(crate) async fn connect(
        ssl: Ssl,
        stream: Box<dyn AsyncStream>,
        state: Arc<ConnectionState>,
    ) -> io::Result<Self> {
        let stream = SslStream::new(ssl, BufferedStream::new(stream)).map_err(io::Error::other)?;
        let mut connecting = Self { stream, state, has_more: false, is_flush_due: false };
        std::future::poll_fn(|context| {
            connecting.poll(|stream| stream.poll_connect(context).map_err(of_operation))
        })
        .await?;
        Ok(connecting)
    }

    /// Returns the version of TLS.
    pub(crate) fn version(&self) -> &'static str {
        match self.stream.ssl().version_str() {
            "TLSv1.2" => "1.2",
            "TLSv1.3" => "1.3",
            _ => "unknown",
        }
    }

    /// Polls an operation. Its error is that of the key or of the server's certificate, if one of
    /// them is the cause.
    fn poll<T>(
        &mut self,
        operation: impl FnOnce(Pin<&mut SslStream<BufferedStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let stream = Pin::new(&mut self.stream);
        let (polled, signatures) = observe_signatures(|| operation(stream));
        // OpenSSL sends an empty certificate, without a signature, if the server's request excludes
        // ours.
        if signatures.has_signed {
            self.state.record.set_presented();
        }
        polled.map_err(|error| {
            let signing = signatures.error.map(|error| RustlsError::Other(OtherError(Arc::new(error))));
            match signing.or_else(|| self.state.take_refusal()) {
                Some(cause) => of_rustls(cause),
                None => of_stream(error),
            }
        })
    }
}

impl fmt::Debug for OpensslStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslStream").field("server", &self.state.server).finish_non_exhaustive()
    }
}

impl AsyncRead for OpensslStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Without a call of OpenSSL, which is expensive, if it could only wait.
        if !self.has_more {
            ready!(self.stream.get_mut().poll_progress(context))?;
        }
        let before = buffer.filled().len();
        ready!(self.poll(|stream| stream.poll_read(context, buffer)))?;
        self.has_more = buffer.remaining() == 0;
        // The crate `openssl` reports a lost connection as an end: a truncated body would seem
        // complete.
        let is_end = !self.has_more && buffer.filled().len() == before;
        if is_end && !ffi::has_received_close(self.stream.ssl()) {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OpensslStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flush_due = true;
        self.poll(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_flush_due {
            ready!(Pin::new(self.stream.get_mut()).poll_flush(context))?;
            self.is_flush_due = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = ready!(Pin::new(&mut self.stream).poll_shutdown(context));
        match closed.map_err(of_stream) {
            // OpenSSL closes no TLS that has failed. The failure was an error of a read or write.
            Err(error) if tls_error(&error).is_some() => {
                Pin::new(self.stream.get_mut()).poll_shutdown(context)
            }
            closed => Poll::Ready(closed),
        }
    }
}
