//! Adapter from a signing key to the client authentication of rustls.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme as Wire};
use symbolon_types::{ClientIdentity, SharedSigningKey, SignatureScheme, SigningError, SigningKey as _};

use crate::client_auth;
use crate::scheme::on_the_wire;

/// Presents one certificate to every server that requests one.
///
/// It holds the chain and the key, not the [`ClientIdentity`]: connections live as long as another
/// owner holds the identity.
#[derive(Debug)]
pub(crate) struct CertificateResolver(Arc<CertifiedKey>);

impl CertificateResolver {
    pub(crate) fn of(identity: &ClientIdentity) -> Self {
        let key = ClientKey(identity.key().clone());
        Self(Arc::new(CertifiedKey::new(identity.chain().to_vec(), Arc::new(key))))
    }
}

impl ResolvesClientCert for CertificateResolver {
    /// The issuers that the server hints at are ignored: the request requires this certificate.
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[Wire]) -> Option<Arc<CertifiedKey>> {
        client_auth::server_requested();
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ClientKey(SharedSigningKey);

impl SigningKey for ClientKey {
    /// Never returns `None`: rustls would continue with an empty certificate, and the server would
    /// treat the client as anonymous.
    fn choose_scheme(&self, offered: &[Wire]) -> Option<Box<dyn Signer>> {
        let ours = self.0.schemes().iter().copied();
        let common = ours.filter_map(|scheme| Some((scheme, on_the_wire(scheme)?)));
        match common.into_iter().find(|(_, wire)| offered.contains(wire)) {
            Some((scheme, wire)) => Some(Box::new(ClientSigner { key: self.0.clone(), scheme, wire })),
            None => Some(Box::new(NoCommonScheme)),
        }
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        let scheme = self.0.schemes().iter().find_map(|scheme| on_the_wire(*scheme));
        scheme.map_or(SignatureAlgorithm::Anonymous, |wire| match wire {
            Wire::ECDSA_NISTP256_SHA256 | Wire::ECDSA_NISTP384_SHA384 => SignatureAlgorithm::ECDSA,
            _ => SignatureAlgorithm::RSA,
        })
    }
}

#[derive(Debug)]
struct ClientSigner {
    key: SharedSigningKey,
    scheme: SignatureScheme,
    wire: Wire,
}

impl Signer for ClientSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(self.scheme, message).map_err(unusable)
    }

    fn scheme(&self) -> Wire {
        self.wire
    }
}

/// Fails the handshake: the server accepts none of the key's signature schemes.
#[derive(Debug)]
struct NoCommonScheme;

impl Signer for NoCommonScheme {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Err(unusable(SigningError::failed("the server accepts none of the signature schemes of the key")))
    }

    fn scheme(&self) -> Wire {
        Wire::Unknown(0)
    }
}

/// Carries the error through rustls; [`TlsError`](crate::TlsError) extracts it.
fn unusable(error: SigningError) -> rustls::Error {
    rustls::Error::Other(OtherError(Arc::new(error)))
}
