//! The public key of a certificate.

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};

/// The public key of a certificate.
#[derive(Clone)]
pub(crate) struct SubjectKey {
    pub(crate) algorithm: SubjectKeyAlgorithm,
    /// The contents of subjectPublicKey.
    pub(crate) octets: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubjectKeyAlgorithm {
    Rsa,
    P256,
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.octets
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.algorithm {
            SubjectKeyAlgorithm::Rsa => &PKCS_RSA_SHA256,
            SubjectKeyAlgorithm::P256 => &PKCS_ECDSA_P256_SHA256,
        }
    }
}
