//! How to make a transport.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use symbolon_types::Context;

use crate::proxy::Proxies;
use crate::tls::TlsFactory;
use crate::trust::{CERT_FILE_VARIABLE, Sources, Trust};
use crate::{BuildError, HyperTransport, TlsVersion};

/// What a [`HyperTransport`] is made of; see [`HyperTransport::builder`].
#[derive(Debug)]
pub struct HyperTransportBuilder {
    provider: CryptoProvider,
    roots: RootCertStore,
    platform_roots: bool,
    minimum_tls: TlsVersion,
    context: Context,
    /// The first thing that was wrong.
    refused: Option<BuildError>,
}

impl HyperTransportBuilder {
    pub(crate) fn new() -> Self {
        Self {
            provider: aws_lc_rs::default_provider(),
            roots: RootCertStore::empty(),
            platform_roots: true,
            minimum_tls: TlsVersion::V1_2,
            context: Context::default(),
            refused: None,
        }
    }

    /// Does its cryptography with this provider; AWS-LC by default. It is passed to every TLS
    /// configuration of this transport and never installed for the process.
    #[must_use]
    pub fn crypto_provider(mut self, provider: CryptoProvider) -> Self {
        self.provider = provider;
        self
    }

    /// Trusts these roots as well.
    #[must_use]
    pub fn root_certificates(
        mut self,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        for (place, certificate) in certificates.into_iter().enumerate() {
            self.add_root(place + 1, Some(certificate));
        }
        self
    }

    /// Trusts the roots in this PEM text as well. Blocks other than certificates are skipped; a
    /// text without any certificate is an error of [`build`](Self::build).
    #[must_use]
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
            self.refused.get_or_insert(BuildError::NoRoot);
        }
        self
    }

    fn add_root(&mut self, position: usize, certificate: Option<CertificateDer<'static>>) {
        let is_added = certificate.is_some_and(|certificate| self.roots.add(certificate).is_ok());
        if !is_added {
            self.refused.get_or_insert(BuildError::MalformedRoot { position });
        }
    }

    /// Whether the roots of the platform are trusted; they are by default. They are read at the
    /// first TLS connection.
    #[must_use]
    pub fn platform_roots(mut self, trusted: bool) -> Self {
        self.platform_roots = trusted;
        self
    }

    /// The oldest version of TLS to speak; 1.2 by default.
    #[must_use]
    pub fn minimum_tls(mut self, version: TlsVersion) -> Self {
        self.minimum_tls = version;
        self
    }

    /// Sets the environment variables, and the clock that measures idle connections and checks the
    /// validity of server certificates. Default: the process's own.
    ///
    /// These variables are read when the transport is built:
    ///
    /// - `SSL_CERT_FILE`: a file of roots in PEM, trusted *as well*, not instead. It is read at
    ///   the first TLS connection, which fails if the file is unreadable or empty.
    /// - `HTTPS_PROXY`, or else `ALL_PROXY`, in capitals or in small letters: the proxy for
    ///   requests by [`Route::Public`](symbolon_transport::Route::Public), as
    ///   `http://[user:password@]host:port`.
    /// - `NO_PROXY`: a list of domains (with their subdomains), addresses and networks that are
    ///   reached without it, divided by commas, or `*`. This machine and link-local addresses
    ///   always are.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Makes the transport. Reads the variables, and does nothing else: no file, no network, no
    /// runtime.
    ///
    /// # Errors
    /// When a root certificate, a proxy variable or the crypto provider cannot be used.
    pub fn build(self) -> Result<HyperTransport, BuildError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let proxies = Proxies::from_env(self.context.env())?;
        let provider = Arc::new(self.provider);
        let sources = Sources {
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
