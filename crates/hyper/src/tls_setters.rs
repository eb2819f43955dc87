//! Setters that the builders of the transport and of connections share.

/// The setters of a builder with the members `tls`, a
/// [`ClientConfigsBuilder`](symbolon_rustls::ClientConfigsBuilder), and `make_backend`.
macro_rules! tls_setters {
    () => {
        /// Sets the crypto provider. Default: AWS-LC. It is passed to every TLS configuration and
        /// never installed for the process.
        pub fn crypto_provider(mut self, provider: symbolon_rustls::rustls::crypto::CryptoProvider) -> Self {
            self.tls = self.tls.crypto_provider(provider);
            self
        }

        /// Adds trusted root certificates.
        pub fn root_certificates(
            mut self,
            certificates: impl IntoIterator<Item = symbolon_rustls::pki_types::CertificateDer<'static>>,
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
        pub fn minimum_tls(mut self, version: symbolon_rustls::TlsVersion) -> Self {
            self.tls = self.tls.minimum_tls(version);
            self
        }

        /// Sets the TLS library, which is made from the settings of roots, versions, clock and
        /// variables. Default: rustls. The crate `symbolon-openssl` has another one.
        pub fn tls_backend<B>(mut self) -> Self
        where
            B: crate::tls::TlsBackend + From<symbolon_rustls::ClientConfigs>,
        {
            self.make_backend = |configs| std::sync::Arc::new(B::from(configs));
            self
        }
    };
}

pub(crate) use tls_setters;
