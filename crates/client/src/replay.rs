//! Request bodies that can be sent again.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use symbolon_hyper::OutgoingBody;
use symbolon_types::{SharedClock, SteadyTime};

/// The maximum number of recorded frames, so that a body of tiny frames does not occupy a multiple
/// of its size.
const MAX_FRAMES: usize = 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request, which records what was read of it up to a limit. As long as it is within
/// the limit, it can be read again from its beginning.
#[derive(Clone)]
pub(crate) struct ReplayableBody(Arc<Mutex<Recording>>);

struct Recording {
    source: OutgoingBody,
    /// The size before anything was read.
    size: SizeHint,
    limit: usize,
    /// `None` once the limit is exceeded.
    frames: Option<Vec<RecordedFrame>>,
    recorded: usize,
    has_ended: bool,
    /// The error of the source, after which nothing is read from it.
    failure: Option<BoxError>,
    /// The number of the current attempt.
    attempt: u64,
    clock: SharedClock,
    last_read: SteadyTime,
}

enum RecordedFrame {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl RecordedFrame {
    fn to_frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }
}

/// The body of one attempt to send a request. A later attempt ends it with an error.
pub(crate) struct AttemptBody {
    recording: ReplayableBody,
    attempt: u64,
    /// The number of frames that this attempt has read.
    read: usize,
    /// The number of bytes in them.
    sent: u64,
}

impl ReplayableBody {
    pub(crate) fn new(source: OutgoingBody, limit: usize, clock: SharedClock) -> Self {
        Self(Arc::new(Mutex::new(Recording {
            size: source.size_hint(),
            has_ended: source.is_end_stream(),
            source,
            limit,
            frames: Some(Vec::new()),
            recorded: 0,
            failure: None,
            attempt: 0,
            last_read: clock.timer_now(),
            clock,
        })))
    }

    /// Returns true if another attempt could send the whole body now. The present one may still
    /// read more than that.
    pub(crate) fn can_replay(&self) -> bool {
        self.recording().frames.is_some()
    }

    /// Ends the present attempt, if the next one can send the whole body. Returns true in this
    /// case.
    pub(crate) fn rewind(&self) -> bool {
        let mut recording = self.recording();
        let can_replay = recording.frames.is_some();
        recording.attempt += u64::from(can_replay);
        can_replay
    }

    /// Starts the first attempt, or the one after a [`rewind`](Self::rewind).
    pub(crate) fn attempt(&self) -> AttemptBody {
        let mut recording = self.recording();
        recording.last_read = recording.clock.timer_now();
        AttemptBody { recording: self.clone(), attempt: recording.attempt, read: 0, sent: 0 }
    }

    /// Returns the error of the body, if it has failed.
    pub(crate) fn take_failure(&self) -> Option<BoxError> {
        self.recording().failure.take()
    }

    /// Returns the time at which the current attempt last read a frame, or else began.
    pub(crate) fn last_read(&self) -> SteadyTime {
        self.recording().last_read
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.source).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                // The rest of a source after its error may look like its end.
                self.frames = None;
                self.failure = Some(error);
                return Poll::Ready(Some(Err("the request body failed".into())));
            }
            None => {
                self.has_ended = true;
                return Poll::Ready(None);
            }
        };
        self.has_ended = self.source.is_end_stream();
        self.record(&frame);
        Poll::Ready(Some(Ok(frame)))
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
        let Some(frames) = &mut self.frames else { return };
        let recorded = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => RecordedFrame::Data(data.clone()),
            (None, Some(trailers)) => RecordedFrame::Trailers(trailers.clone()),
            // A kind of frame of a later version, which cannot be cloned.
            (None, None) => return self.frames = None,
        };
        self.recorded += frame.data_ref().map_or(0, Bytes::len);
        if self.recorded > self.limit || frames.len() >= MAX_FRAMES {
            self.frames = None;
        } else {
            frames.push(recorded);
        }
    }
}

impl Body for AttemptBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut recording = this.recording.recording();
        if recording.attempt != this.attempt {
            return Poll::Ready(Some(Err("the request is sent again".into())));
        }
        let recorded = recording.frames.as_ref().and_then(|frames| frames.get(this.read));
        let frame = match recorded.map(RecordedFrame::to_frame) {
            Some(frame) => frame,
            None if recording.has_ended => return Poll::Ready(None),
            None => match ready!(recording.poll_source(context)).transpose()? {
                Some(frame) => frame,
                None => return Poll::Ready(None),
            },
        };
        recording.last_read = recording.clock.timer_now();
        drop(recording);
        this.read += 1;
        this.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let recording = self.recording.recording();
        recording.has_ended && recording.frames.as_ref().is_none_or(|frames| frames.len() <= self.read)
    }

    fn size_hint(&self) -> SizeHint {
        let size = &self.recording.recording().size;
        let mut left = SizeHint::new();
        if let Some(upper) = size.upper() {
            left.set_upper(upper.saturating_sub(self.sent));
        }
        left.set_lower(size.lower().saturating_sub(self.sent));
        left
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody};
    use symbolon_hyper::outgoing;

    use super::*;

    fn body(source: OutgoingBody, limit: usize) -> ReplayableBody {
        ReplayableBody::new(source, limit, SharedClock::system())
    }

    fn frames(parts: Vec<Frame<Bytes>>) -> OutgoingBody {
        outgoing(StreamBody::new(futures_util::stream::iter(parts.into_iter().map(Ok::<_, BoxError>))))
    }

    #[tokio::test]
    async fn small_body_is_replayed_whole() {
        let trailers: HeaderMap =
            [(http::header::ETAG, http::HeaderValue::from_static("x"))].into_iter().collect();
        let parts =
            || vec![Frame::data("ab".into()), Frame::data("c".into()), Frame::trailers(trailers.clone())];
        let body = body(frames(parts()), 3);
        let mut first = body.attempt();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        for _ in 0..2 {
            assert!(body.rewind());
            let again = body.attempt().collect().await.unwrap();
            assert_eq!(again.trailers(), Some(&trailers));
            assert_eq!(again.to_bytes(), "abc");
        }
        assert!(first.frame().await.unwrap().is_err(), "an attempt that was replaced reads nothing");
    }

    #[tokio::test]
    async fn larger_body_is_sent_once() {
        let body = body(frames(vec![Frame::data("ab".into()), Frame::data("cd".into())]), 3);
        let mut first = body.attempt();
        first.frame().await.unwrap().unwrap();
        assert!(body.can_replay());
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "cd");
        assert!(!body.can_replay() && !body.rewind());
        assert!(first.frame().await.is_none() && first.is_end_stream());
    }

    #[tokio::test]
    async fn tiny_frames_are_bounded() {
        let tiny = || (0..MAX_FRAMES + 1).map(|_| Frame::data(Bytes::new())).collect();
        let body = body(frames(tiny()), usize::MAX);
        body.attempt().collect().await.unwrap();
        assert!(!body.can_replay());
    }

    #[tokio::test]
    async fn size_is_that_of_the_rest() {
        let abc = outgoing(Full::new(Bytes::from_static(b"abc")));
        let body = body(abc, 3);
        let mut first = body.attempt();
        assert_eq!((first.size_hint().exact(), first.is_end_stream()), (Some(3), false));
        first.frame().await.unwrap().unwrap();
        assert_eq!((first.size_hint().exact(), first.is_end_stream()), (Some(0), true));
        assert!(body.rewind());
        let second = body.attempt();
        assert_eq!((second.size_hint().exact(), second.is_end_stream()), (Some(3), false));
        let empty = ReplayableBody::new(outgoing(Full::new(Bytes::new())), 0, SharedClock::system());
        assert!(empty.attempt().is_end_stream());
    }
}
