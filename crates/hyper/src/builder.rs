//! The builder of the transport.

use std::sync::Arc;

use symbolon_rustls::pki_types::CertificateDer;
use symbolon_rustls::rustls::crypto::CryptoProvider;
use symbolon_rustls::{ClientConfigs, ClientConfigsBuilder, TlsVersion};
use symbolon_types::Context;

use crate::connector::Connector;
use crate::proxy::Proxies;
use crate::tls::{MakeBackend, TlsBackend, rustls_backend};
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
    /// Sets the crypto provider. Default: AWS-LC. It is passed to every TLS configuration of this
    /// transport and never installed for the process.
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
    /// without a certificate, or with a malformed one, is an error of [`build`](Self::build).
    pub fn root_certificates_pem(mut self, pem: &[u8]) -> Self {
        self.tls = self.tls.root_certificates_pem(pem);
        self
    }

    /// Sets whether the roots of the platform are trusted. Default: true. They are read at the
    /// first TLS connection.
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
        Ok(HyperTransport::new(Connector::new(tls, proxies, clock.clone()), clock))
    }
}
