//! Progress messages for operations that take longer than a second, and the last server that was
//! contacted.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon::SharedClock;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as LayerContext;

use crate::server_log::{ServerLog, Severity};

/// Minimum duration that is reported on a terminal.
const LONG: Duration = Duration::from_secs(1);
/// Minimum duration of all waits together from which they are reported without a terminal.
const VERY_LONG: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(250);
// Names of the events that the libraries log.
const RETRY: &str = "retry";
const KEY_REQUESTED: &str = "key";
const KEY_MADE: &str = "key_made";

/// The field with the server in events of the transport.
const ORIGIN: &str = "origin";

/// A `tracing` layer that reports retries and slow key generation, and keeps the last server.
#[derive(Clone)]
pub(crate) struct Progress {
    clock: SharedClock,
    is_terminal: bool,
    is_shown: bool,
    /// The log of a server, in place of lines for people.
    server_log: Option<ServerLog>,
    last_server: Arc<Mutex<Option<String>>>,
    /// Start of the pending key generation.
    key_since: Arc<Mutex<Option<SystemTime>>>,
    /// Sum of the waits between attempts.
    waited: Arc<Mutex<Duration>>,
}

impl Progress {
    pub(crate) fn new(clock: SharedClock, is_terminal: bool, is_shown: bool) -> Self {
        let (last_server, key_since, waited) = Default::default();
        Self { clock, is_terminal, is_shown, server_log: None, last_server, key_since, waited }
    }

    /// Reports in the log of a server.
    pub(crate) fn with_server_log(mut self, log: ServerLog) -> Self {
        self.server_log = Some(log);
        self
    }

    /// Returns true if slow key generation is reported.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_shown && self.is_terminal
    }

    /// Returns the server that was contacted last, with its port.
    pub(crate) fn last_server(&self) -> Option<String> {
        self.last_server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the layer handles an event.
    pub(crate) fn is_relevant(metadata: &Metadata<'_>) -> bool {
        // The spans of calls have the origin as well.
        metadata.is_event()
            && metadata.target().starts_with("symbolon_")
            && (metadata.fields().field(ORIGIN).is_some()
                || [RETRY, KEY_REQUESTED, KEY_MADE].contains(&metadata.name()))
    }

    /// Reports slow key generation. Never returns.
    pub(crate) async fn watch(self) {
        loop {
            self.clock.sleep(POLL_INTERVAL).await;
            if self.key_takes_long() {
                self.print("generating a key");
            }
        }
    }

    fn print(&self, message: &str) {
        match self.server_log {
            Some(log) => log.write(Severity::Warn, "waiting", message, []),
            None => {
                // A closed terminal needs no progress.
                let _written = writeln!(io::stderr().lock(), "{message} …");
            }
        }
    }

    /// Returns true if the next wait is long, or without a terminal all waits together.
    fn is_long_wait(&self, delay: Duration) -> bool {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        *waited += delay;
        if self.is_terminal { delay >= LONG } else { *waited >= VERY_LONG }
    }

    /// Returns true once for each key that takes long.
    fn key_takes_long(&self) -> bool {
        let now = self.clock.now();
        let mut key = self.key_since.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = key.and_then(|since| now.duration_since(since).ok());
        let is_long = waited.is_some_and(|waited| waited >= LONG);
        if is_long {
            *key = None;
        }
        is_long
    }
}

impl<S: Subscriber> Layer<S> for Progress {
    fn on_event(&self, event: &Event<'_>, _context: LayerContext<'_, S>) {
        let set = |since| *self.key_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        match event.metadata().name() {
            KEY_REQUESTED => set(Some(self.clock.now())),
            KEY_MADE => set(None),
            RETRY => {
                let mut retry = RetryEvent::default();
                event.record(&mut retry);
                if self.is_long_wait(retry.delay) && self.is_shown {
                    self.print(&retry.to_string());
                }
            }
            _ => event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
                if field.name() == ORIGIN {
                    let server = Some(format!("{value:?}"));
                    *self.last_server.lock().unwrap_or_else(PoisonError::into_inner) = server;
                }
            }),
        }
    }
}

/// The fields of a retry event.
#[derive(Default)]
struct RetryEvent {
    attempt: u64,
    delay: Duration,
    status: Option<u64>,
}

impl Visit for RetryEvent {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "attempt" => self.attempt = value,
            "delay_ms" => self.delay = Duration::from_millis(value),
            "status" => self.status = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

impl fmt::Display for RetryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let response = match self.status {
            Some(status) => format!("response: HTTP {status}"),
            None => "no response".to_owned(),
        };
        // Rounded, because jitter makes delays uneven.
        let seconds = (self.delay.as_secs_f64() * 10.0).round() / 10.0;
        write!(f, "{response}; attempt {} in {seconds} s", self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use symbolon::parts::types::ManualClock;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn slow_key_is_reported_once() {
        let manual_clock = ManualClock::new();
        let progress = Progress::new(SharedClock::from(&manual_clock), true, true);
        let layer = progress.clone().with_filter(filter_fn(Progress::is_relevant));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            assert!(!progress.key_takes_long());
            tracing::debug!(name: "key", target: "somebody_else", "not ours");
            manual_clock.advance(Duration::from_secs(2));
            assert!(!progress.key_takes_long());
            tracing::debug!(name: "key", target: "symbolon_binding::mint", "requested");
            manual_clock.advance(Duration::from_millis(999));
            assert!(!progress.key_takes_long());
            manual_clock.advance(Duration::from_millis(1));
            assert!(progress.key_takes_long() && !progress.key_takes_long());
            tracing::debug!(name: "key", target: "symbolon_binding::mint", "requested");
            tracing::debug!(name: "key_made", target: "symbolon_binding::mint", "created");
            manual_clock.advance(Duration::from_secs(2));
            assert!(!progress.key_takes_long());
        });
    }

    // A proxy would create and end one for each call.
    #[test]
    fn spans_are_not_enabled() {
        let layer = Progress::new(SharedClock::system(), true, true);
        let subscriber =
            tracing_subscriber::registry().with(layer.with_filter(filter_fn(Progress::is_relevant)));
        tracing::subscriber::with_default(subscriber, || {
            let span =
                tracing::info_span!(target: "symbolon_client::call", "call", origin = "https://a.example");
            assert!(span.is_disabled());
        });
    }

    #[test]
    fn waits_add_up_without_a_terminal() {
        let seconds = [1, 2, 4].map(Duration::from_secs);
        for (is_terminal, expected) in [(true, [true; 3]), (false, [false, true, true])] {
            let progress = Progress::new(SharedClock::system(), is_terminal, true);
            assert_eq!(seconds.map(|delay| progress.is_long_wait(delay)), expected);
        }
    }

    #[test]
    fn retry_has_attempt_and_delay() {
        let retry = RetryEvent { attempt: 2, delay: Duration::from_millis(1000), status: Some(503) };
        assert_eq!(retry.to_string(), "response: HTTP 503; attempt 2 in 1 s");
        let retry = RetryEvent { attempt: 3, delay: Duration::from_millis(2462), status: None };
        assert_eq!(retry.to_string(), "no response; attempt 3 in 2.5 s");
    }
}
