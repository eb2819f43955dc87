//! The builder of pooled connections.

use std::time::Duration;

use symbolon_rustls::{ClientConfigs, ClientConfigsBuilder};
use symbolon_types::Context;

use super::origin_pool::PoolLimits;
use super::pools::Connections;
use crate::connector::Connector;
use crate::error::BuildError;
use crate::proxy::Proxies;
use crate::tls::{MakeBackend, rustls_backend};
use crate::tls_setters::tls_setters;

/// Load balancers and firewalls drop idle flows silently after a few minutes, those of Azure after
/// four.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// Enough for a burst of requests over HTTP/1.1.
const IDLE_CONNECTIONS: usize = 256;
/// A quarter of the descriptors that a process has by default on Linux, for programs that call many
/// origins once.
const ORIGINS: usize = 256;

/// A builder of [`Connections`]; see [`Connections::builder`].
#[derive(Debug)]
#[must_use]
pub struct ConnectionsBuilder {
    tls: ClientConfigsBuilder,
    make_backend: MakeBackend,
    context: Context,
    limits: PoolLimits,
    http2: bool,
}

impl Connections {
    /// Returns a builder.
    pub fn builder() -> ConnectionsBuilder {
        ConnectionsBuilder {
            tls: ClientConfigs::builder(),
            make_backend: rustls_backend,
            context: Context::default(),
            limits: PoolLimits {
                connections: usize::MAX,
                idle: IDLE_CONNECTIONS,
                idle_time: IDLE_TIME,
                streams: usize::MAX,
                origins: ORIGINS,
            },
            http2: true,
        }
    }
}

impl ConnectionsBuilder {
    tls_setters!();

    /// Sets whether HTTP/2 is offered. Default: true.
    pub fn http2(mut self, offered: bool) -> Self {
        self.http2 = offered;
        self
    }

    /// Sets the maximum number of HTTP/1.1 connections to one origin with one certificate. Further
    /// requests wait. Default: no limit.
    pub fn max_connections(mut self, maximum: usize) -> Self {
        self.limits.connections = maximum.max(1);
        self
    }

    /// Sets the maximum number of idle HTTP/1.1 connections to one origin with one certificate.
    /// Default: 256.
    pub fn max_idle_connections(mut self, maximum: usize) -> Self {
        self.limits.idle = maximum;
        self
    }

    /// Sets the time after which an idle HTTP/1.1 connection is not used again. Default: 90
    /// seconds.
    pub fn idle_time(mut self, limit: Duration) -> Self {
        self.limits.idle_time = limit;
        self
    }

    /// Sets the maximum number of origins to which connections of one certificate are kept. Beyond
    /// it, those to the least recently used origin are closed. Default: 256.
    pub fn max_origins(mut self, maximum: usize) -> Self {
        self.limits.origins = maximum.max(1);
        self
    }

    /// Sets the maximum number of simultaneous requests on one HTTP/2 connection. Further requests
    /// wait. Default: what the server allows.
    pub fn max_streams(mut self, maximum: usize) -> Self {
        self.limits.streams = maximum.max(1);
        self
    }

    /// Sets the environment variables, the clock and the observer, with the meaning of
    /// [`HyperTransportBuilder::context`](crate::HyperTransportBuilder::context).
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Builds the connections. It reads the variables, but no file, and needs no network or
    /// runtime.
    ///
    /// # Errors
    /// [`BuildError`] if a root certificate or the crypto provider is unusable.
    pub fn build(self) -> Result<Connections, BuildError> {
        let proxies = Proxies::from_env(self.context.env());
        let protocols: &[&str] = if self.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let tls = self.tls.alpn_protocols(protocols.iter().copied()).context(self.context.clone());
        let clock = self.context.clock().clone();
        let connector = Connector::new((self.make_backend)(tls.build()?), proxies, &self.context);
        Ok(Connections::new(connector, self.limits, clock))
    }
}
