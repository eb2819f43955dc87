//! Signing keys that cannot be exported.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RsaKeyPair,
};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Rsa2048,
    P256,
}

pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rsa2048, Algorithm::P256];

/// A key that signs and counts its signatures, or fails on demand.
#[derive(Clone, Debug)]
pub(crate) struct TestKey {
    pair: Arc<Pair>,
    public: SubjectPublicKeyInfoDer<'static>,
    schemes: Vec<SignatureScheme>,
    signatures: Arc<AtomicUsize>,
    fails: bool,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl TestKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Self {
        use SignatureScheme as Scheme;
        let (pair, exported, schemes) = match algorithm {
            Algorithm::Rsa2048 => {
                let key =
                    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
                let pair = RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap();
                let schemes = [
                    Scheme::RsaPssSha256,
                    Scheme::RsaPkcs1Sha256,
                    Scheme::RsaPssSha384,
                    Scheme::RsaPkcs1Sha384,
                ];
                (Pair::Rsa(pair), key, schemes.to_vec())
            }
            Algorithm::P256 => {
                let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
                (Pair::Ecdsa(pair), key, vec![Scheme::EcdsaP256Sha256])
            }
        };
        let public = exported.subject_public_key_info().into();
        Self { pair: Arc::new(pair), public, schemes, signatures: Arc::default(), fails: false }
    }

    /// Returns the same key in a device that was unplugged.
    pub(crate) fn failing(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Returns the same key with this scheme only.
    pub(crate) fn only(mut self, scheme: SignatureScheme) -> Self {
        self.schemes = vec![scheme];
        self
    }

    /// Returns the number of signatures.
    pub(crate) fn signatures(&self) -> usize {
        self.signatures.load(Ordering::Relaxed)
    }
}

impl SigningKey for TestKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if self.fails {
            return Err(SigningError::failed("the device is gone"));
        }
        if !self.schemes.contains(&scheme) {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).unwrap().as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding = match scheme {
                    SignatureScheme::RsaPssSha256 => &RSA_PSS_SHA256,
                    SignatureScheme::RsaPssSha384 => &RSA_PSS_SHA384,
                    SignatureScheme::RsaPkcs1Sha256 => &RSA_PKCS1_SHA256,
                    SignatureScheme::RsaPkcs1Sha384 => &RSA_PKCS1_SHA384,
                    _ => return Err(SigningError::UnsupportedScheme(scheme)),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                Ok(signature)
            }
        }
    }

    fn strength(&self) -> Strength {
        Strength::Hardware
    }
}
