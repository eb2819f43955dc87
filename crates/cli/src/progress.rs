//! What takes longer than a second is told to whoever sits at the terminal.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon::SharedClock;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const LONG: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(250);
/// The names of the events of the libraries that this knows.
const RETRY: &str = "retry";
const KEY: &str = "key";
const KEY_MADE: &str = "key_made";

/// Follows what the libraries log.
#[derive(Clone)]
pub(crate) struct Progress {
    clock: SharedClock,
    /// When the key was asked for that there is none yet.
    key: Arc<Mutex<Option<SystemTime>>>,
}

impl Progress {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, key: Arc::default() }
    }

    /// The events that it follows.
    pub(crate) fn follows(metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("symbolon_") && [RETRY, KEY, KEY_MADE].contains(&metadata.name())
    }

    /// Tells what has not ended after a second. Never returns.
    pub(crate) async fn watch(self) {
        loop {
            self.clock.sleep(LOOK).await;
            if self.key_takes_long() {
                tell("making a key");
            }
        }
    }

    /// True once for each key that takes long.
    fn key_takes_long(&self) -> bool {
        let now = self.clock.now();
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = key.and_then(|since| now.duration_since(since).ok());
        let is_long = waited.is_some_and(|waited| waited >= LONG);
        if is_long {
            *key = None;
        }
        is_long
    }
}

impl<S: Subscriber> Layer<S> for Progress {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let set = |since| *self.key.lock().unwrap_or_else(PoisonError::into_inner) = since;
        match event.metadata().name() {
            KEY => set(Some(self.clock.now())),
            KEY_MADE => set(None),
            _ => {
                let mut retry = Retry::default();
                event.record(&mut retry);
                if retry.delay >= LONG {
                    tell(&retry.to_string());
                }
            }
        }
    }
}

/// A request that is sent again.
#[derive(Default)]
struct Retry {
    attempt: u64,
    delay: Duration,
    status: Option<u64>,
}

impl Visit for Retry {
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

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.status {
            Some(status) => format!("the answer was HTTP {status}"),
            None => "no answer".to_owned(),
        };
        // To the tenth, as `Retry-After` and a spread make them.
        let seconds = (self.delay.as_secs_f64() * 10.0).round() / 10.0;
        write!(f, "{answer}; attempt {} in {seconds} s", self.attempt)
    }
}

fn tell(what: &str) {
    // Nobody at the terminal, nothing lost.
    let _written = writeln!(io::stderr().lock(), "{what} …");
}

#[cfg(test)]
mod tests {
    use symbolon::parts::types::ManualClock;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_key_that_takes_longer_than_a_second_is_told_of_once() {
        let hands = ManualClock::new();
        let progress = Progress::new(SharedClock::from(&hands));
        let layer = progress.clone().with_filter(filter_fn(Progress::follows));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            assert!(!progress.key_takes_long());
            tracing::debug!(name: "key", target: "somebody_else", "not ours");
            hands.advance(Duration::from_secs(2));
            assert!(!progress.key_takes_long());
            tracing::debug!(name: "key", target: "symbolon_binding::mint", "asked");
            hands.advance(Duration::from_millis(999));
            assert!(!progress.key_takes_long());
            hands.advance(Duration::from_millis(1));
            assert!(progress.key_takes_long() && !progress.key_takes_long());
            tracing::debug!(name: "key", target: "symbolon_binding::mint", "asked");
            tracing::debug!(name: "key_made", target: "symbolon_binding::mint", "made");
            hands.advance(Duration::from_secs(2));
            assert!(!progress.key_takes_long());
        });
    }

    #[test]
    fn a_retry_says_which_attempt_it_is_and_when() {
        let retry = Retry { attempt: 2, delay: Duration::from_millis(1000), status: Some(503) };
        assert_eq!(retry.to_string(), "the answer was HTTP 503; attempt 2 in 1 s");
        let retry = Retry { attempt: 3, delay: Duration::from_millis(2462), status: None };
        assert_eq!(retry.to_string(), "no answer; attempt 3 in 2.5 s");
    }
}
