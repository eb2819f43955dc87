//! The stream of a connection, as HTTP reads and writes it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handler::ClientConnection;
use crate::listener::ClientStream;

/// The octets that begin an HTTP/2 connection with prior knowledge (RFC 9113 §3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the [preface](HTTP2_PREFACE) of HTTP/2, or other octets that begin a connection.
pub(crate) async fn read_preface(stream: &mut Box<dyn ClientStream>) -> io::Result<Bytes> {
    let mut octets = [0; HTTP2_PREFACE.len()];
    let mut buffer = ReadBuf::new(&mut octets);
    loop {
        let before = buffer.filled().len();
        poll_fn(|context| AsyncRead::poll_read(Pin::new(&mut *stream), context, &mut buffer)).await?;
        let read = buffer.filled();
        if read.len() == before || !HTTP2_PREFACE.starts_with(read) || read.len() == HTTP2_PREFACE.len() {
            return Ok(Bytes::copy_from_slice(read));
        }
    }
}

/// Ends a connection from this side, and discards the octets that the client still sends. If they
/// were not read, the connection would be reset, and with it a response that the client has not
/// read (RFC 9112 §9.6).
pub(crate) async fn close(mut stream: Box<dyn ClientStream>) {
    if poll_fn(|context| AsyncWrite::poll_shutdown(Pin::new(&mut stream), context)).await.is_err() {
        return;
    }
    let mut octets = vec![0; 8 * 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut octets);
        let read = poll_fn(|context| AsyncRead::poll_read(Pin::new(&mut stream), context, &mut buffer));
        if read.await.is_err() || buffer.filled().is_empty() {
            return;
        }
    }
}

/// A stream from which some octets were read already. It records when a response is in the socket,
/// and stays open when HTTP ends on it for a while.
pub(crate) struct ConnectionIo {
    stream: TokioIo<Box<dyn ClientStream>>,
    begin: Bytes,
    connection: Arc<ClientConnection>,
}

impl ConnectionIo {
    pub(crate) fn new(
        stream: Box<dyn ClientStream>,
        begin: Bytes,
        connection: Arc<ClientConnection>,
    ) -> Self {
        Self { stream: TokioIo::new(stream), begin, connection }
    }

    /// Returns the stream, and the octets that were not read from here.
    pub(crate) fn into_parts(self) -> (Box<dyn ClientStream>, Bytes) {
        (self.stream.into_inner(), self.begin)
    }
}

impl Read for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begin.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.begin.len().min(buffer.remaining());
        buffer.put_slice(&self.begin[..length]);
        self.begin.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Write for ConnectionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    /// Flushes the stream. HTTP/1.1 does this when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.slot.is_idle() {
            self.connection.progress.all_sent();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.progress.is_suspending() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
