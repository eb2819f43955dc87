//! The builder of pooled connections.

use std::sync::Arc;
use std::time::Duration;

use symbolon_rustls::pki_types::CertificateDer;
use symbolon_rustls::rustls::crypto::CryptoProvider;
use symbolon_rustls::{ClientConfigs, ClientConfigsBuilder, TlsVersion};
use symbolon_types::Context;

use super::origin_pool::PoolLimits;
use super::pools::Connections;
use crate::connector::Connector;
use crate::error::BuildError;
use crate::proxy::Proxies;
use crate::tls::{MakeBackend, TlsBackend, rustls_backend};

/// Load balancers and firewalls drop idle flows silently after a few minutes, those of Azure after
/// four.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// Enough for a burst of requests over HTTP/1.1.
const IDLE_CONNECTIONS: usize = 256;

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
            },
            http2: true,
        }
    }
}

impl ConnectionsBuilder {
    /// Sets the crypto provider. Default: AWS-LC. It is passed to every TLS configuration and never
    /// installed for the process.
    pub fn crypto_provider(mut self, provider: CryptoProvider) -> Self {
        self.tls = self.tls.crypto_provider(provider);
        self
    }

    /// Adds trusted root certificates.
    pub fn root_certificates(
        mut self,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        self.tls = self.tls.root_certificates(certificates);
        self
    }

    /// Adds the trusted root certificates in this PEM text. Other blocks are skipped; a text
    /// without a certificate is an error of [`build`](Self::build).
    pub fn root_certificates_pem(mut self, pem: &[u8]) -> Self {
        self.tls = self.tls.root_certificates_pem(pem);
        self
    }

    /// Sets whether the roots of the platform are trusted. Default: true.
    pub fn platform_roots(mut self, trusted: bool) -> Self {
        self.tls = self.tls.platform_roots(trusted);
        self
    }

    /// Sets the oldest accepted version of TLS. Default: 1.2.
    pub fn minimum_tls(mut self, version: TlsVersion) -> Self {
        self.tls = self.tls.minimum_tls(version);
        self
    }

    /// Sets the TLS library, which is made from the settings of roots, versions, clock and
    /// variables. Default: rustls. The crate `symbolon-openssl` has another one.
    pub fn tls_backend<B: TlsBackend + From<ClientConfigs>>(mut self) -> Self {
        self.make_backend = |configs| Arc::new(B::from(configs));
        self
    }

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

    /// Sets the maximum number of simultaneous requests on one HTTP/2 connection. Further requests
    /// wait. Default: what the server allows.
    pub fn max_streams(mut self, maximum: usize) -> Self {
        self.limits.streams = maximum.max(1);
        self
    }

    /// Sets the environment variables and the clock, with the meaning of
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
        let connector = Connector::new((self.make_backend)(tls.build()?), proxies, clock.clone());
        Ok(Connections::new(connector, self.limits, clock))
    }
}
