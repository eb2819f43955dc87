//! A certificate authority for servers and clients.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use symbolon_types::{ClientIdentity, SharedSigningKey, SigningKey};

use crate::keys::{Algorithm, TestKey};

/// Server names: for direct connections, for a connection through a proxy on this machine, and one
/// that only the proxy resolves.
pub(crate) const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "0.0.0.0", "service.example"];

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a server certificate for these names. Returns it with its key.
    pub(crate) fn server(&self, names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params =
            CertificateParams::new(names.iter().copied().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// Issues an identity with a new key.
    pub(crate) fn identity(&self, algorithm: Algorithm) -> ClientIdentity {
        self.identity_of(TestKey::generate(algorithm))
    }

    /// Issues an identity with this key.
    pub(crate) fn identity_of(&self, key: TestKey) -> ClientIdentity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test client");
        let public = SubjectPublicKeyInfo::from_der(key.public_key()).unwrap();
        let certificate = params.signed_by(&public, &self.0).unwrap();
        ClientIdentity::new(vec![certificate.der().clone()], SharedSigningKey::new(key)).unwrap()
    }
}
