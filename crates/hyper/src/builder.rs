//! The builder of the transport.

use symbolon_rustls::{ClientConfigs, ClientConfigsBuilder};
use symbolon_types::Context;

use crate::connector::Connector;
use crate::proxy::Proxies;
use crate::tls::{MakeBackend, rustls_backend};
use crate::tls_setters::tls_setters;
use crate::{BuildError, HyperTransport};

/// The only application protocol (RFC 7301 §6).
const HTTP_1_1: &str = "http/1.1";

/// A builder of [`HyperTransport`]; see [`HyperTransport::builder`].
#[derive(Debug)]
#[must_use]
pub struct HyperTransportBuilder {
    tls: ClientConfigsBuilder,
    make_backend: MakeBackend,
    context: Context,
}

impl HyperTransport {
    /// Returns a builder.
    pub fn builder() -> HyperTransportBuilder {
        let tls = ClientConfigs::builder().alpn_protocols([HTTP_1_1]);
        HyperTransportBuilder { tls, make_backend: rustls_backend, context: Context::default() }
    }
}

impl HyperTransportBuilder {
    tls_setters!();

    /// Sets the environment variables, and the clock that measures idle connections and checks the
    /// validity of server certificates. Default: the process's own.
    ///
    /// These variables are read when the transport is built:
    ///
    /// - `SSL_CERT_FILE`: a PEM file of roots that are trusted in addition to the others. It is
    ///   read at the first TLS connection, which fails if no certificate in it can be read.
    /// - `SSL_CERT_DIR`: folders with files of such roots, separated as in `PATH`.
    /// - `HTTPS_PROXY`, or else `ALL_PROXY`, in upper or lower case: the proxy for requests by
    ///   [`Route::Public`](symbolon_transport::Route::Public), as
    ///   `http://[user:password@]host:port`, or with `https`, `socks5` or `socks5h` as the scheme.
    ///   An unusable value is an error of the requests that would use the proxy.
    /// - `NO_PROXY`: domains (with their subdomains), addresses and networks that bypass the proxy,
    ///   each with an optional port, separated by commas or spaces, or `*`. This machine and
    ///   link-local addresses always bypass it.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Builds the transport. It reads the variables, but no file, and needs no network or runtime.
    ///
    /// # Errors
    /// [`BuildError`] if a root certificate or the crypto provider is unusable.
    pub fn build(self) -> Result<HyperTransport, BuildError> {
        let proxies = Proxies::from_env(self.context.env());
        let tls = (self.make_backend)(self.tls.context(self.context.clone()).build()?);
        let clock = self.context.clock().clone();
        Ok(HyperTransport::new(Connector::new(tls, proxies, &self.context), clock))
    }
}
