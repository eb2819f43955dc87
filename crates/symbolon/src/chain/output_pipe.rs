//! A pipe from a child process that is read without waiting for its end.

use std::io;
#[cfg(unix)]
use std::io::Read;
use std::time::Duration;

/// Bytes that are read at once.
const CHUNK: usize = 8 * 1024;

/// The read end of a pipe, with the text that was read. The pipe is closed on drop, also while a
/// process still writes to it.
#[derive(Debug)]
pub(super) struct OutputPipe {
    /// `None` once the pipe has ended.
    source: Option<Source>,
    text: Vec<u8>,
    /// Maximum length of the text; the rest is read and dropped.
    max: usize,
}

#[cfg(unix)]
type Source = std::fs::File;
/// A thread reads the pipe, and ends with it.
#[cfg(not(unix))]
type Source = std::sync::mpsc::Receiver<Vec<u8>>;

impl OutputPipe {
    pub(super) fn is_open(&self) -> bool {
        self.source.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }
}

#[cfg(unix)]
impl OutputPipe {
    /// Creates the reader of a pipe. It has its full capacity, so that growth leaves no copy of a
    /// token behind.
    pub(super) fn new(pipe: Option<impl Into<std::os::fd::OwnedFd>>, max: usize) -> io::Result<Self> {
        let source = pipe.map(|pipe| Source::from(pipe.into()));
        if let Some(source) = &source {
            rustix::io::ioctl_fionbio(source, true)?;
        }
        Ok(Self { source, text: Vec::with_capacity(max), max })
    }

    /// Reads the bytes that have arrived, but not forever from a process that never stops printing.
    pub(super) fn read(&mut self) -> io::Result<()> {
        for _ in 0..64 {
            let Some(source) = &mut self.source else { return Ok(()) };
            let start = self.text.len();
            let result = match (self.max - start).min(CHUNK) {
                0 => source.read(&mut [0; CHUNK]),
                room => {
                    self.text.resize(start + room, 0);
                    let result = source.read(&mut self.text[start..]);
                    self.text.truncate(start + result.as_ref().copied().unwrap_or_default());
                    result
                }
            };
            match result {
                Ok(0) => self.source = None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.source = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Waits until a pipe has bytes or ends, at most for `limit`.
#[cfg(unix)]
pub(super) fn wait_for_output(pipes: &[&OutputPipe], limit: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let open = pipes.iter().filter_map(|pipe| pipe.source.as_ref());
    let mut open: Vec<_> = open.map(|source| PollFd::new(source, PollFlags::IN)).collect();
    let limit = Timespec::try_from(limit).ok();
    if poll(&mut open, limit.as_ref()).is_err() {
        // Interrupted, or out of memory.
        std::thread::yield_now();
    }
}

#[cfg(not(unix))]
impl OutputPipe {
    /// Creates the reader of a pipe.
    pub(super) fn new(pipe: Option<impl io::Read + Send + 'static>, max: usize) -> io::Result<Self> {
        let source = match pipe {
            None => None,
            Some(mut pipe) => {
                let (sender, source) = std::sync::mpsc::channel();
                std::thread::Builder::new().name("symbolon-tool-output".into()).spawn(move || {
                    let mut chunk = [0; CHUNK];
                    while let Ok(length @ 1..) = pipe.read(&mut chunk)
                        && sender.send(chunk[..length].to_vec()).is_ok()
                    {}
                })?;
                Some(source)
            }
        };
        Ok(Self { source, text: Vec::with_capacity(max), max })
    }

    /// Reads the bytes that have arrived.
    pub(super) fn read(&mut self) -> io::Result<()> {
        use std::sync::mpsc::TryRecvError;

        while let Some(source) = &self.source {
            match source.try_recv() {
                Ok(chunk) => {
                    let room = (self.max - self.text.len()).min(chunk.len());
                    self.text.extend_from_slice(&chunk[..room]);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.source = None,
            }
        }
        Ok(())
    }
}

/// Waits for `limit`.
#[cfg(not(unix))]
pub(super) fn wait_for_output(_pipes: &[&OutputPipe], limit: Duration) {
    std::thread::park_timeout(limit);
}
