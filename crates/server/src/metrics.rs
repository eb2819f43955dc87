//! Metrics in the text format of Prometheus.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The labels of a series. Each value is one of a limited set.
type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// The metrics of a server and of the tokens that it requests. Clones share them.
///
/// `Display` writes them in the text format of Prometheus.
#[derive(Clone, Default)]
pub struct Metrics(Arc<MetricsState>);

#[derive(Default)]
struct MetricsState {
    connections: AtomicUsize,
    /// The counters, by their family.
    counters: Mutex<BTreeMap<CounterFamily, BTreeMap<Labels, u64>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CounterFamily {
    Requests,
}

impl CounterFamily {
    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::Requests => {
                ("symbolon_requests_total", "Requests of clients, by the status of the response.")
            }
        }
    }
}

impl Metrics {
    /// Creates metrics without any event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn open_connection(&self) -> OpenConnection {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }

    pub(crate) fn count_response(&self, status: http::StatusCode) {
        self.count(CounterFamily::Requests, vec![("status", status.as_str().to_owned().into())]);
    }

    fn count(&self, family: CounterFamily, labels: Labels) {
        *self.counters().entry(family).or_default().entry(labels).or_default() += 1;
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<CounterFamily, BTreeMap<Labels, u64>>> {
        self.0.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_family(f, "symbolon_info", "gauge", "The version of this program.")?;
        let version = Cow::Borrowed(env!("CARGO_PKG_VERSION"));
        write_sample(f, "symbolon_info", &vec![("version", version)], 1)?;
        write_family(f, "symbolon_connections", "gauge", "Connections of clients.")?;
        write_sample(f, "symbolon_connections", &Vec::new(), self.0.connections.load(Ordering::Relaxed))?;
        for (family, series) in &*self.counters() {
            let (name, help) = family.name_and_help();
            write_family(f, name, "counter", help)?;
            for (labels, value) in series {
                write_sample(f, name, labels, value)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A guard that counts one open connection.
pub(crate) struct OpenConnection(Metrics);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn write_family(f: &mut impl fmt::Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn write_sample(
    f: &mut impl fmt::Write,
    name: &str,
    labels: &Labels,
    value: impl fmt::Display,
) -> fmt::Result {
    f.write_str(name)?;
    let mut separator = '{';
    for (label, text) in labels {
        write!(f, "{separator}{label}=\"")?;
        for character in text.chars() {
            match character {
                '\\' | '"' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')?;
        separator = ',';
    }
    if !labels.is_empty() {
        f.write_char('}')?;
    }
    writeln!(f, " {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        let labels = vec![("a", "x\"\\\ny".into()), ("b", "".into())];
        write_sample(&mut text, "name", &labels, 7).unwrap();
        assert_eq!(text, "name{a=\"x\\\"\\\\\\ny\",b=\"\"} 7\n");
    }

    #[test]
    fn responses_are_counted_by_status() {
        let metrics = Metrics::new();
        let open = metrics.open_connection();
        for status in [200, 503, 200] {
            metrics.count_response(http::StatusCode::from_u16(status).unwrap());
        }
        let text = metrics.to_string();
        for line in [
            "# TYPE symbolon_requests_total counter\n",
            "symbolon_requests_total{status=\"200\"} 2\n",
            "symbolon_requests_total{status=\"503\"} 1\n",
            "symbolon_connections 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        drop(open);
        assert!(metrics.to_string().contains("symbolon_connections 0\n"));
    }
}
