//! RSA keys by aws-lc-rs.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

/// The library overwrites the private half when it frees it.
pub(super) struct RsaKey {
    pair: KeyPair,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl RsaKey {
    pub(super) fn generate_2048() -> Option<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let spki = pair.public_key().as_der().ok()?;
        let public_key = SubjectPublicKeyInfoDer::from(spki.as_ref().to_vec());
        Some(Self { pair, public_key })
    }
}

impl SigningKey for RsaKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[
            SignatureScheme::RsaPssSha256,
            SignatureScheme::RsaPssSha384,
            SignatureScheme::RsaPssSha512,
            SignatureScheme::RsaPkcs1Sha256,
            SignatureScheme::RsaPkcs1Sha384,
            SignatureScheme::RsaPkcs1Sha512,
        ]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let encoding: &'static dyn RsaEncoding = match scheme {
            SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_SHA256,
            SignatureScheme::RsaPssSha384 => &signature::RSA_PSS_SHA384,
            SignatureScheme::RsaPssSha512 => &signature::RSA_PSS_SHA512,
            SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
            SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
            SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
            other => return Err(SigningError::UnsupportedScheme(other)),
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .map_err(SigningError::failed)?;
        Ok(signature)
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey").finish_non_exhaustive()
    }
}
