//! Metrics in the text format of Prometheus.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_types::{
    Event, HandshakeEvent, MintEvent, Observer, StoreEvent, TokenFetchEvent, TokenRequestEvent,
};

/// The labels of a series. Each value is one of a limited set.
type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// Upper limits of the buckets of durations, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of a server and of the tokens that it requests. Clones share them.
///
/// It is the [observer](symbolon_types::Context::with_observer) of the tokens. `Display` writes the
/// metrics in the text format of Prometheus.
#[derive(Clone, Default)]
pub struct Metrics(Arc<MetricsState>);

#[derive(Default)]
struct MetricsState {
    connections: AtomicUsize,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    counters: BTreeMap<CounterFamily, BTreeMap<Labels, u64>>,
    durations: BTreeMap<DurationFamily, Durations>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CounterFamily {
    Requests,
    TokenRequests,
    CacheHits,
    TokenFetches,
    Mints,
    Handshakes,
    Refusals,
    StoreCalls,
}

impl CounterFamily {
    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::Requests => {
                ("symbolon_requests_total", "Requests of clients, by the status of the response.")
            }
            Self::TokenRequests => (
                "symbolon_token_requests_total",
                "Requests for a token, by the origin of the token or the error.",
            ),
            Self::CacheHits => ("symbolon_token_cache_hits_total", "Tokens from the cache."),
            Self::TokenFetches => (
                "symbolon_token_fetches_total",
                "Fetches of a token, by their reason. The reason due is a refresh.",
            ),
            Self::Mints => {
                ("symbolon_mints_total", "Certificates of managed identities that were requested.")
            }
            Self::Handshakes => ("symbolon_handshakes_total", "TLS connections that were opened."),
            Self::Refusals => ("symbolon_refusals_total", "Credentials that were refused."),
            Self::StoreCalls => ("symbolon_store_calls_total", "Calls to the store behind the token cache."),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DurationFamily {
    TokenFetch,
    Mint,
    Handshake,
}

impl DurationFamily {
    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::TokenFetch => ("symbolon_token_fetch_duration_seconds", "Duration of fetches of a token."),
            Self::Mint => ("symbolon_mint_duration_seconds", "Duration of requests for a certificate."),
            Self::Handshake => {
                ("symbolon_handshake_duration_seconds", "Duration of the opening of TLS connections.")
            }
        }
    }
}

/// Durations by bucket.
#[derive(Default)]
struct Durations {
    /// The number of durations in each bucket alone; longer ones are in none.
    buckets: [u64; BUCKETS.len()],
    sum: Duration,
    count: u64,
}

impl Durations {
    fn record(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|limit| seconds <= *limit) {
            self.buckets[bucket] += 1;
        }
        self.sum += duration;
        self.count += 1;
    }

    fn write(&self, f: &mut impl fmt::Write, name: &str) -> fmt::Result {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (limit, in_bucket) in BUCKETS.iter().zip(self.buckets) {
            count += in_bucket;
            write_sample(f, &bucket, &vec![("le", limit.to_string().into())], count)?;
        }
        write_sample(f, &bucket, &vec![("le", "+Inf".into())], self.count)?;
        write_sample(f, &format!("{name}_sum"), &Vec::new(), self.sum.as_secs_f64())?;
        write_sample(f, &format!("{name}_count"), &Vec::new(), self.count)
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

    fn token_request(&self, request: &TokenRequestEvent) {
        let bound = ("bound", truth(request.is_bound));
        let (origin, error) = match &request.result {
            Ok(token) => (token.origin.as_str(), ""),
            Err(error) => ("", *error),
        };
        let labels = vec![bound.clone(), ("origin", origin.into()), ("error", error.into())];
        self.count(CounterFamily::TokenRequests, labels);
        if let Ok(token) = &request.result
            && let Some(level) = token.cache_level
        {
            self.count(CounterFamily::CacheHits, vec![bound, ("level", level.as_str().into())]);
        }
    }

    fn token_fetch(&self, fetch: &TokenFetchEvent) {
        let error = fetch.result.as_ref().err().map_or("", |error| error.error_type);
        let labels = vec![
            ("bound", truth(fetch.is_bound)),
            ("reason", fetch.refresh_reason.as_str().into()),
            ("error", error.into()),
        ];
        self.count(CounterFamily::TokenFetches, labels);
        self.time(DurationFamily::TokenFetch, fetch.duration);
    }

    fn mint(&self, mint: &MintEvent) {
        let error = mint.result.as_ref().err().map_or("", |error| *error);
        let labels = vec![("renewal", truth(mint.is_renewal)), ("error", error.into())];
        self.count(CounterFamily::Mints, labels);
        self.time(DurationFamily::Mint, mint.duration);
    }

    fn handshake(&self, handshake: &HandshakeEvent) {
        let certificate = ("certificate", truth(handshake.has_identity));
        let (version, resumed, error) = match &handshake.result {
            Ok(session) => (session.version, truth(session.is_resumed), ""),
            Err(error) => ("", "".into(), *error),
        };
        let labels =
            vec![certificate, ("version", version.into()), ("resumed", resumed), ("error", error.into())];
        self.count(CounterFamily::Handshakes, labels);
        self.time(DurationFamily::Handshake, handshake.duration);
    }

    fn store_call(&self, call: &StoreEvent) {
        let error = call.result.as_ref().err().map_or("", |error| *error);
        let labels = vec![("operation", call.operation.as_str().into()), ("error", error.into())];
        self.count(CounterFamily::StoreCalls, labels);
    }

    fn count(&self, family: CounterFamily, labels: Labels) {
        *self.recorded().counters.entry(family).or_default().entry(labels).or_default() += 1;
    }

    fn time(&self, family: DurationFamily, duration: Duration) {
        self.recorded().durations.entry(family).or_default().record(duration);
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event) {
        match event {
            Event::TokenRequest(request) => self.token_request(request),
            Event::TokenFetch(fetch) => self.token_fetch(fetch),
            Event::Mint(mint) => self.mint(mint),
            Event::Handshake(handshake) => self.handshake(handshake),
            Event::Refusal(refusal) => {
                let labels = vec![("refused_by", refusal.refused_by.as_str().into())];
                self.count(CounterFamily::Refusals, labels);
            }
            Event::Store(call) => self.store_call(call),
            _ => {}
        }
    }
}

fn truth(value: bool) -> Cow<'static, str> {
    if value { "true" } else { "false" }.into()
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_family(f, "symbolon_info", "gauge", "The version of this program.")?;
        let version = Cow::Borrowed(env!("CARGO_PKG_VERSION"));
        write_sample(f, "symbolon_info", &vec![("version", version)], 1)?;
        write_family(f, "symbolon_connections", "gauge", "Connections of clients.")?;
        write_sample(f, "symbolon_connections", &Vec::new(), self.0.connections.load(Ordering::Relaxed))?;
        let recorded = self.recorded();
        for (family, series) in &recorded.counters {
            let (name, help) = family.name_and_help();
            write_family(f, name, "counter", help)?;
            for (labels, value) in series {
                write_sample(f, name, labels, value)?;
            }
        }
        for (family, durations) in &recorded.durations {
            let (name, help) = family.name_and_help();
            write_family(f, name, "histogram", help)?;
            durations.write(f, name)?;
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

/// The token of an identity for a resource.
pub(crate) struct TokenState<'a> {
    pub(crate) identity: &'a str,
    pub(crate) resource: &'a str,
    /// The seconds until it expires; `None` if it cannot be had.
    pub(crate) expires_in: Option<u64>,
}

/// Writes the states of tokens. Their number is that of the configuration.
pub(crate) fn write_tokens(f: &mut impl fmt::Write, tokens: &[TokenState<'_>]) -> fmt::Result {
    if tokens.is_empty() {
        return Ok(());
    }
    let labels = |token: &TokenState<'_>| -> Labels {
        vec![("identity", token.identity.to_owned().into()), ("resource", token.resource.to_owned().into())]
    };
    write_family(f, "symbolon_ready", "gauge", "1 if the token can be had, otherwise 0.")?;
    for token in tokens {
        write_sample(f, "symbolon_ready", &labels(token), u8::from(token.expires_in.is_some()))?;
    }
    let name = "symbolon_token_expires_in_seconds";
    write_family(f, name, "gauge", "Time until the token expires.")?;
    for token in tokens {
        if let Some(seconds) = token.expires_in {
            write_sample(f, name, &labels(token), seconds)?;
        }
    }
    Ok(())
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
    fn durations_are_cumulative() {
        let mut durations = Durations::default();
        for millis in [1, 5, 6, 20_000] {
            durations.record(Duration::from_millis(millis));
        }
        let mut text = String::new();
        durations.write(&mut text, "name").unwrap();
        for line in [
            "name_bucket{le=\"0.005\"} 2\n",
            "name_bucket{le=\"0.01\"} 3\n",
            "name_bucket{le=\"10\"} 3\n",
            "name_bucket{le=\"+Inf\"} 4\n",
            "name_sum 20.012\n",
            "name_count 4\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn tokens_have_their_state() {
        let mut text = String::new();
        let token = |resource, expires_in| TokenState { identity: "system", resource, expires_in };
        write_tokens(&mut text, &[token("a", Some(7)), token("b", None)]).unwrap();
        for line in [
            "symbolon_ready{identity=\"system\",resource=\"a\"} 1\n",
            "symbolon_ready{identity=\"system\",resource=\"b\"} 0\n",
            "symbolon_token_expires_in_seconds{identity=\"system\",resource=\"a\"} 7\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(text.matches("expires_in_seconds{").count(), 1, "{text}");
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
