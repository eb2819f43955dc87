//! RSA keys of aws-lc-rs.

use aws_lc_rs::encoding::AsDer;
#[cfg(unix)]
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};
#[cfg(unix)]
use x509_cert::der::{Decode, asn1::AnyRef};
#[cfg(unix)]
use zeroize::Zeroizing;

use crate::device_key::RSA_SCHEMES;

/// RSA key; aws-lc-rs overwrites the private key when it frees it.
pub(super) struct RsaKey {
    pair: KeyPair,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl RsaKey {
    pub(super) fn generate_2048() -> Option<Self> {
        Self::new(KeyPair::generate(KeySize::Rsa2048).ok()?)
    }

    /// Returns `None` unless this is a consistent RSA key of 2048 bits.
    #[cfg(unix)]
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        // aws-lc-rs accepts trailing bytes.
        AnyRef::from_der(pkcs8).ok()?;
        let pair = KeyPair::from_pkcs8(pkcs8).ok()?;
        (pair.public_modulus_len() == KeySize::Rsa2048.len()).then_some(pair).and_then(Self::new)
    }

    #[cfg(unix)]
    pub(super) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().ok()?;
        Some(Zeroizing::new(der.as_ref().to_vec()))
    }

    fn new(pair: KeyPair) -> Option<Self> {
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
        RSA_SCHEMES
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

symbolon_types::debug_fields!(RsaKey);
