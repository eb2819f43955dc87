//! Captures the logs of a test, to search them for lines that must and must not appear.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

thread_local! {
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The log events of the current thread at TRACE, captured until this is dropped.
///
/// One subscriber serves the whole process and separates threads. With a subscriber per thread,
/// `tracing` would cache an event as disabled when a thread without subscriber reaches it first.
#[derive(Debug)]
#[non_exhaustive]
pub struct CapturedLogs;

impl CapturedLogs {
    /// Starts to capture.
    #[must_use]
    pub fn begin() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(ToThisThread)
                .finish();
            let installed = tracing::subscriber::set_global_default(subscriber);
            assert!(installed.is_ok(), "the process has another subscriber, which takes the logs");
        });
        CAPTURED.set(Some(Vec::new()));
        Self
    }

    /// Returns the captured text.
    #[must_use]
    pub fn text(&self) -> String {
        CAPTURED.with_borrow(|captured| {
            String::from_utf8_lossy(captured.as_deref().unwrap_or_default()).into_owned()
        })
    }
}

impl Drop for CapturedLogs {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

struct ToThisThread;

impl io::Write for ToThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| {
            if let Some(captured) = captured {
                captured.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ToThisThread {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_capture_only_their_own_logs() {
        let log = |text: &'static str| tracing::trace!("{text}");
        log("before");
        let logs = CapturedLogs::begin();
        log("north");
        let other = std::thread::spawn(move || {
            let logs = CapturedLogs::begin();
            log("south");
            logs.text()
        });
        let other = other.join().unwrap();
        assert!(other.contains("south") && !other.contains("north"), "{other}");
        let text = logs.text();
        assert!(text.contains("north") && !text.contains("south") && !text.contains("before"), "{text}");
    }
}
