//! Keys that only sign, like those in hardware.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair};
use symbolon::{ClientIdentity, Error, KeyProvider, Strength};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey};

/// A key that only signs, like one in a TPM or an HSM.
pub(crate) struct OpaqueKey {
    device: Device,
    public_key: SubjectPublicKeyInfoDer<'static>,
    schemes: &'static [SignatureScheme],
}

enum Device {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Broken,
}

impl OpaqueKey {
    /// An RSA-2048 key.
    pub(crate) fn rsa_2048() -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let public_key = pair.public_key().as_der().expect("its public half");
        Self {
            public_key: public_key.as_ref().to_vec().into(),
            device: Device::Rsa(pair),
            schemes: &[SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256],
        }
    }

    /// A P-256 key from its PKCS#8 encoding.
    pub(crate) fn p256_from_pkcs8(pkcs8: &[u8]) -> Self {
        let pair =
            EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).expect("a key");
        let public_key = pair.public_key().as_der().expect("its public half");
        Self {
            public_key: public_key.as_ref().to_vec().into(),
            device: Device::P256(pair),
            schemes: &[SignatureScheme::EcdsaP256Sha256],
        }
    }

    /// A certificate with its key in PKCS#8.
    pub(crate) fn identity(certificate: &[u8], pkcs8: &[u8]) -> ClientIdentity {
        let key = SharedSigningKey::new(Self::p256_from_pkcs8(pkcs8));
        ClientIdentity::new(vec![certificate.to_vec().into()], key).expect("a matching certificate")
    }

    /// A key with the public half of another, whose device fails.
    pub(crate) fn broken(like: &impl SigningKey) -> Self {
        Self {
            public_key: like.public_key().clone(),
            device: Device::Broken,
            schemes: &[SignatureScheme::EcdsaP256Sha256, SignatureScheme::RsaPssSha256],
        }
    }
}

impl SigningKey for OpaqueKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let random = SystemRandom::new();
        match &self.device {
            Device::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match scheme {
                    SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_SHA256,
                    SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
                    _ => return Err(SigningError::UnsupportedScheme(scheme)),
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signed).map_err(SigningError::failed)?;
                Ok(signed)
            }
            Device::P256(pair) => {
                Ok(pair.sign(&random, message).map_err(SigningError::failed)?.as_ref().to_vec())
            }
            Device::Broken => Err(SigningError::failed("the device is gone")),
        }
    }

    fn strength(&self) -> Strength {
        Strength::Hardware
    }
}

impl fmt::Debug for OpaqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueKey")
    }
}

/// A provider that returns the same key each time, like a TPM.
#[derive(Clone, Debug)]
pub(crate) struct OpaqueKeys(SharedSigningKey);

impl OpaqueKeys {
    /// Always this key.
    pub(crate) fn always(key: OpaqueKey) -> Self {
        Self(SharedSigningKey::new(key))
    }
}

impl KeyProvider for OpaqueKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        Ok(self.0.clone())
    }
}
