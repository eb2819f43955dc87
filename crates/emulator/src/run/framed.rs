//! The octets below an HTTP/2 connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The length of a frame header (RFC 9113 §4.1).
const HEADER: usize = 9;

/// A shared stream that follows the boundaries of the frames written to it. hyper sends no frame on
/// request, so that the server writes one itself between two frames of hyper.
pub(super) struct FramedIo<S>(Arc<Mutex<Framed<S>>>);

struct Framed<S> {
    stream: S,
    position: FramePosition,
}

/// The position in the written frames.
#[derive(Default)]
struct FramePosition {
    header: [u8; HEADER],
    /// The octets of the header that are written.
    filled: usize,
    /// The octets of the payload that are not written.
    payload: usize,
}

impl<S> FramedIo<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Framed { stream, position: FramePosition::default() })))
    }

    /// Returns true if no frame is partly written.
    pub(super) fn is_between_frames(&self) -> bool {
        self.with_framed(|framed| framed.position.filled == 0 && framed.position.payload == 0)
    }

    /// Calls a function with the stream.
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut S) -> T) -> T {
        self.with_framed(|framed| call(&mut framed.stream))
    }

    fn with_framed<T>(&self, call: impl FnOnce(&mut Framed<S>) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for FramedIo<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl FramePosition {
    fn advance(&mut self, mut written: &[u8]) {
        while !written.is_empty() {
            if self.payload > 0 {
                let length = self.payload.min(written.len());
                self.payload -= length;
                written = &written[length..];
                continue;
            }
            let length = (HEADER - self.filled).min(written.len());
            self.header[self.filled..self.filled + length].copy_from_slice(&written[..length]);
            self.filled += length;
            written = &written[length..];
            if self.filled == HEADER {
                let [high, middle, low, ..] = self.header;
                self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.filled = 0;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FramedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_read(context, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FramedIo<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.with_framed(|framed| {
            let written = Pin::new(&mut framed.stream).poll_write(context, data);
            if let Poll::Ready(Ok(length)) = written {
                framed.position.advance(&data[..length]);
            }
            written
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_after_their_payload() {
        let frames = [[0, 0, 2, 0, 0, 0, 0, 0, 1].as_slice(), &[7, 7], &[0, 0, 0, 4, 1, 0, 0, 0, 0]].concat();
        for step in 1..=frames.len() {
            let mut position = FramePosition::default();
            let mut written = 0;
            for part in frames.chunks(step) {
                position.advance(part);
                written += part.len();
                let between = position.filled == 0 && position.payload == 0;
                assert_eq!(between, [11, 20].contains(&written), "after {written} octets in steps of {step}");
            }
        }
    }
}
