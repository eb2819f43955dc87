//! ECDSA keys on P-256 in pure Rust.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey as EcdsaKey};
use p256::elliptic_curve::Generate;
#[cfg(unix)]
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};
#[cfg(unix)]
use zeroize::Zeroizing;

use crate::device_key::p256_public_key;

/// ECDSA key on P-256; the private key is overwritten when dropped.
pub(super) struct P256Key {
    key: EcdsaKey,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl P256Key {
    pub(super) fn generate() -> Option<Self> {
        Self::new(EcdsaKey::try_generate().ok()?)
    }

    /// Returns `None` unless this is a consistent key on P-256.
    #[cfg(unix)]
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        Self::new(EcdsaKey::from_pkcs8_der(pkcs8).ok()?)
    }

    #[cfg(unix)]
    pub(super) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        Some(self.key.to_pkcs8_der().ok()?.to_bytes())
    }

    fn new(key: EcdsaKey) -> Option<Self> {
        let point = key.verifying_key().to_sec1_point(false);
        let public_key = p256_public_key(point.as_bytes()).ok()?;
        Some(Self { key, public_key })
    }
}

impl SigningKey for P256Key {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if scheme != SignatureScheme::EcdsaP256Sha256 {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        let signature: DerSignature = self.key.try_sign(message).map_err(SigningError::failed)?;
        Ok(signature.as_bytes().to_vec())
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

symbolon_types::debug_fields!(P256Key);
