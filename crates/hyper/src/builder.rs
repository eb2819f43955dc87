//! The builder of the transport.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use symbolon_types::Context;

use crate::proxy::Proxies;
use crate::tls::TlsFactory;
use crate::trust::{CERT_FILE_VARIABLE, RootSources, Trust};
use crate::{BuildError, HyperTransport, TlsVersion};

/// A builder of [`HyperTransport`]; see [`HyperTransport::builder`].
#[derive(Debug)]
#[must_use]
pub struct HyperTransportBuilder {
    provider: CryptoProvider,
    roots: RootCertStore,
    platform_roots: bool,
    minimum_tls: TlsVersion,
    context: Context,
    /// The first error.
    error: Option<BuildError>,
}

impl HyperTransport {
    /// Returns a builder.
    pub fn builder() -> HyperTransportBuilder {
        HyperTransportBuilder {
            provider: aws_lc_rs::default_provider(),
            roots: RootCertStore::empty(),
            platform_roots: true,
            minimum_tls: TlsVersion::V1_2,
            context: Context::default(),
            error: None,
        }
    }
}

impl HyperTransportBuilder {
    /// Sets the crypto provider. Default: AWS-LC. It is passed to every TLS configuration of this
    /// transport and never installed for the process.
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
    /// without a certificate is an error of [`build`](Self::build).
    pub fn root_certificates_pem(mut self, pem: &[u8]) -> Self {
        let mut blocks = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            blocks += 1;
            let is_readable = certificate.is_ok();
            self.add_root(blocks, certificate.ok());
            if !is_readable {
                break;
            }
        }
        if blocks == 0 {
            self.error.get_or_insert(BuildError::NoRoot);
        }
        self
    }

    fn add_root(&mut self, position: usize, certificate: Option<CertificateDer<'static>>) {
        let is_added = certificate.is_some_and(|certificate| self.roots.add(certificate).is_ok());
        if !is_added {
            self.error.get_or_insert(BuildError::MalformedRoot { position });
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

    /// Sets the environment variables, and the clock that measures idle connections and checks the
    /// validity of server certificates. Default: the process's own.
    ///
    /// These variables are read when the transport is built:
    ///
    /// - `SSL_CERT_FILE`: a PEM file of roots that are trusted in addition to the others. It is
    ///   read at the first TLS connection, which fails if the file is unreadable or empty.
    /// - `HTTPS_PROXY`, or else `ALL_PROXY`, in upper or lower case: the proxy for requests by
    ///   [`Route::Public`](symbolon_transport::Route::Public), as
    ///   `http://[user:password@]host:port`.
    /// - `NO_PROXY`: a comma-separated list of domains (with their subdomains), addresses and
    ///   networks that bypass the proxy, or `*`. This machine and link-local addresses always
    ///   bypass it.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Builds the transport. It reads the variables, but no file, and needs no network or runtime.
    ///
    /// # Errors
    /// [`BuildError`] if a root certificate, a proxy variable or the crypto provider is unusable.
    pub fn build(self) -> Result<HyperTransport, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let proxies = Proxies::from_env(self.context.env())?;
        let provider = Arc::new(self.provider);
        let sources = RootSources {
            given: self.roots,
            platform: self.platform_roots,
            file: self.context.env().var(CERT_FILE_VARIABLE).map(PathBuf::from),
        };
        let trust = Trust::new(sources, Arc::clone(&provider));
        let tls = TlsFactory::new(provider, self.minimum_tls, trust, self.context.clock().clone())
            .map_err(|_| BuildError::UnsuitableCryptoProvider)?;
        Ok(HyperTransport::new(tls, proxies, self.context.clock().clone()))
    }
}
