//! The self-signed certificate of the Service Fabric endpoint. Clients pin it by its thumbprint
//! (docs/protocol/sources.md#service-fabric).

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::Error;

/// A self-signed certificate that can be replaced while the server runs.
#[derive(Debug)]
pub(crate) struct FabricCertificate(RwLock<Arc<CertifiedKey>>);

impl FabricCertificate {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self(RwLock::new(generate()?)))
    }

    /// Replaces the certificate for all later handshakes.
    pub(crate) fn replace(&self) -> Result<(), Error> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = generate()?;
        Ok(())
    }

    /// Returns the SHA-1 of the certificate in upper-case hexadecimal, as certificate stores show
    /// it.
    pub(crate) fn thumbprint(&self) -> String {
        let current = self.current();
        let leaf = current.cert.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns a TLS configuration without client certificates. It does not resume sessions, which
/// would outlive a replaced certificate.
pub(crate) fn server_config(certificate: Arc<FabricCertificate>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::certificate)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn generate() -> Result<Arc<CertifiedKey>, Error> {
    let mut params = CertificateParams::default();
    // Valid on every clock. No name: clients pin the certificate.
    params.not_before = date_time_ymd(1990, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    params.distinguished_name.push(DnType::CommonName, "Symbolon emulator, Service Fabric");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
    let certificate = params.self_signed(&key).map_err(Error::certificate)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider::sign::any_supported_type(&key).map_err(Error::certificate)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}

impl ResolvesServerCert for FabricCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
