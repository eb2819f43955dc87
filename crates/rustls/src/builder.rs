//! The builder of the configurations.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use symbolon_types::Context;

use crate::configs::{ClientConfigs, TlsSettings};
use crate::error::ConfigError;
use crate::trust::{CERT_DIR_VARIABLE, CERT_FILE_VARIABLE, RootSources, Trust, certificates_of};
use crate::version::TlsVersion;

/// A builder of [`ClientConfigs`]; see [`ClientConfigs::builder`].
#[derive(Debug)]
#[must_use]
pub struct ClientConfigsBuilder {
    provider: CryptoProvider,
    roots: RootCertStore,
    platform_roots: bool,
    minimum_tls: TlsVersion,
    maximum_tls: TlsVersion,
    alpn_protocols: Vec<Vec<u8>>,
    context: Context,
    /// The first error.
    error: Option<ConfigError>,
}

impl ClientConfigs {
    /// Returns a builder.
    pub fn builder() -> ClientConfigsBuilder {
        ClientConfigsBuilder {
            provider: aws_lc_rs::default_provider(),
            roots: RootCertStore::empty(),
            platform_roots: true,
            minimum_tls: TlsVersion::V1_2,
            maximum_tls: TlsVersion::V1_3,
            alpn_protocols: Vec::new(),
            context: Context::default(),
            error: None,
        }
    }
}

impl ClientConfigsBuilder {
    /// Sets the crypto provider. Default: AWS-LC. It is passed to every configuration and never
    /// installed for the process.
    pub fn crypto_provider(mut self, provider: CryptoProvider) -> Self {
        self.provider = provider;
        self
    }

    /// Adds trusted root certificates.
    pub fn root_certificates(
        mut self,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        for (index, certificate) in certificates.into_iter().enumerate() {
            self.add_root(index + 1, Some(certificate));
        }
        self
    }

    /// Adds the trusted root certificates in this PEM text. Other blocks are skipped; a text
    /// without a certificate, or with a malformed one, is an error of [`build`](Self::build).
    pub fn root_certificates_pem(mut self, pem: &[u8]) -> Self {
        let certificates = certificates_of(pem);
        if certificates.is_empty() {
            self.error.get_or_insert(ConfigError::NoRoot);
        }
        for (index, certificate) in certificates.into_iter().enumerate() {
            self.add_root(index + 1, certificate);
        }
        self
    }

    fn add_root(&mut self, position: usize, certificate: Option<CertificateDer<'static>>) {
        let is_added = certificate.is_some_and(|certificate| self.roots.add(certificate).is_ok());
        if !is_added {
            self.error.get_or_insert(ConfigError::MalformedRoot { position });
        }
    }

    /// Sets whether the roots of the platform are trusted. Default: true. They are read at the
    /// first TLS connection.
    pub fn platform_roots(mut self, trusted: bool) -> Self {
        self.platform_roots = trusted;
        self
    }

    /// Sets the oldest accepted version of TLS. Default: 1.2.
    pub fn minimum_tls(mut self, version: TlsVersion) -> Self {
        self.minimum_tls = version;
        self
    }

    /// Sets the newest accepted version of TLS. Default: 1.3.
    pub fn maximum_tls(mut self, version: TlsVersion) -> Self {
        self.maximum_tls = version;
        self
    }

    /// Sets the application protocols (RFC 7301), preferred first, such as `h2` and `http/1.1`.
    /// Default: none. Some libraries require that they set the protocols themselves.
    pub fn alpn_protocols(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn_protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the clock, by which the validity of server certificates is checked, and the environment
    /// variables. Default: the process's own.
    ///
    /// `SSL_CERT_FILE` names a PEM file of roots that are trusted in addition to the others. It is
    /// read at the first use, which fails if the file contains no certificate that can be read.
    /// `SSL_CERT_DIR` is a list of folders, separated as in `PATH`, with files of such roots. What
    /// is skipped is logged, and named when a server's certificate is refused.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Builds the configurations. It reads the variables, but no file, and needs no runtime.
    ///
    /// # Errors
    /// [`ConfigError`] if a root certificate or the crypto provider is unusable, or no TLS version
    /// is allowed.
    pub fn build(self) -> Result<ClientConfigs, ConfigError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let provider = Arc::new(self.provider);
        let sources = RootSources {
            given: self.roots,
            platform: self.platform_roots,
            file: self.context.env().var(CERT_FILE_VARIABLE).map(PathBuf::from),
            folders: self.context.env().var(CERT_DIR_VARIABLE),
        };
        let trust = Trust::new(sources, Arc::clone(&provider));
        let clock = self.context.clock().clone();
        let settings =
            TlsSettings::new(provider, self.minimum_tls..=self.maximum_tls, self.alpn_protocols, clock)?;
        Ok(ClientConfigs::new(settings, trust))
    }
}
