//! A public key as a certificate carries it.

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};

/// A public key as a certificate carries it.
#[derive(Clone)]
pub(crate) struct SubjectKey {
    pub(crate) algorithm: Algorithm,
    /// The contents of subjectPublicKey.
    pub(crate) octets: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rsa,
    P256,
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.octets
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.algorithm {
            Algorithm::Rsa => &PKCS_RSA_SHA256,
            Algorithm::P256 => &PKCS_ECDSA_P256_SHA256,
        }
    }
}
