//! The limits of a server.

use std::time::Duration;

use symbolon_types::SharedClock;

use crate::metrics::Metrics;

/// The limits of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerSettings {
    pub(crate) max_connections: usize,
    pub(crate) idle_time: Duration,
    pub(crate) max_head_size: usize,
    pub(crate) max_headers: usize,
    pub(crate) grace_period: Duration,
    pub(crate) answers_half_closed: bool,
    pub(crate) metrics: Metrics,
    pub(crate) clock: SharedClock,
}

impl ServerSettings {
    /// Returns settings with this clock, which suit small requests and responses.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            max_connections: 256,
            idle_time: Duration::from_secs(10),
            max_head_size: 16 * 1024,
            max_headers: 64,
            grace_period: Duration::from_secs(5),
            answers_half_closed: true,
            metrics: Metrics::new(),
            clock,
        }
    }

    /// Sets the maximum number of authenticated connections. Three eighths of the file descriptors
    /// of the process are a limit as well. Default: 256.
    pub fn max_connections(mut self, maximum: usize) -> Self {
        self.max_connections = maximum;
        self
    }

    /// Sets the time after which a connection without a request is closed. Default: ten seconds.
    pub fn idle_time(mut self, limit: Duration) -> Self {
        self.idle_time = limit;
        self
    }

    /// Sets the maximum size of the head of a request, in bytes, and its number of fields. Beyond
    /// them, the client gets the status 431 without the [`Handler`](crate::Handler). The buffers of
    /// an HTTP/1.1 connection grow to this size. Default: 16 KiB, 64 fields.
    pub fn max_head(mut self, size: usize, fields: usize) -> Self {
        self.max_head_size = size;
        self.max_headers = fields;
        self
    }

    /// Sets the time that pending requests get when the server stops. Default: five seconds.
    pub fn grace_period(mut self, limit: Duration) -> Self {
        self.grace_period = limit;
        self
    }

    /// Ends a pending request over HTTP/1.1 when the client ends its half of the connection. For
    /// requests that are expensive or endless: a client that has closed the connection looks the
    /// same as one that waits for the response. Default: the request is answered.
    pub fn end_with_client(mut self) -> Self {
        self.answers_half_closed = false;
        self
    }

    /// Sets the metrics in which connections and responses are counted. Default: some that nobody
    /// reads.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }
}
