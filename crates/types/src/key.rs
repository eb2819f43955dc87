//! Keys that sign and never leave.

use std::fmt;
use std::sync::Arc;

use pki_types::SubjectPublicKeyInfoDer;

/// A private key that can sign and cannot be read.
///
/// Keys in software, in a TPM, behind PKCS#11 and in a remote service all fit: nothing here
/// exports the private half. Signing happens inside a TLS handshake, so `sign` should return
/// within milliseconds; a slow device blocks the thread that asks.
pub trait SigningKey: fmt::Debug + Send + Sync + 'static {
    /// The public half, as the SubjectPublicKeyInfo of RFC 5280 §4.1.2.7.
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static>;

    /// What this key can sign with, preferred first.
    ///
    /// An RSA key should offer RSASSA-PSS and PKCS#1 v1.5: TLS 1.3 asks for the first, a TLS 1.2
    /// server may choose either.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs a message (not its digest). ECDSA signatures are DER encoded.
    ///
    /// # Errors
    /// When the scheme is not among [`schemes`](Self::schemes), or the device refuses;
    /// [`SigningError::Gone`] only when the private half is not there any more.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError>;

    /// How well the private half is kept, as far as the provider can prove it.
    fn strength(&self) -> Strength;
}

/// A handle on any [`SigningKey`]; clones are cheap and sign with the same key.
#[derive(Clone, Debug)]
pub struct SharedSigningKey(Arc<dyn SigningKey>);

impl SharedSigningKey {
    /// Shares a key.
    pub fn new(key: impl SigningKey) -> Self {
        Self(Arc::new(key))
    }
}

impl SigningKey for SharedSigningKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.0.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.0.sign(scheme, message)
    }

    fn strength(&self) -> Strength {
        self.0.strength()
    }
}

/// How to sign: the schemes of TLS (RFC 8446 §4.2.3) that client keys use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// RSASSA-PSS, SHA-256, salt of 32 bytes. `PS256` in RFC 7518.
    RsaPssSha256,
    /// RSASSA-PSS, SHA-384, salt of 48 bytes.
    RsaPssSha384,
    /// RSASSA-PSS, SHA-512, salt of 64 bytes.
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5, SHA-256. `RS256` in RFC 7518.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5, SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5, SHA-512.
    RsaPkcs1Sha512,
    /// ECDSA on P-256 with SHA-256. `ES256` in RFC 7518, but DER encoded.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
}

/// How well a private key is kept. Ordered: a floor is met by anything at least as strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Strength {
    /// In the memory of this process, or in a file.
    Software,
    /// In a device that does not export it: a TPM, an HSM.
    Hardware,
    /// Isolated by virtualization-based security, with attestation (Windows KeyGuard).
    KeyGuard,
}

impl Strength {
    /// The name in options and in JSON: `software`, `hardware`, `keyguard`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::KeyGuard => "keyguard",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key that could not sign.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The key does not offer this scheme.
    #[error("the key cannot sign with {0:?}")]
    UnsupportedScheme(SignatureScheme),
    /// The key, or the device that holds it, failed; the source says how.
    #[error("the private key could not be used")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The private half is not there any more: deleted, or lost with the boot or the device that
    /// held it. Trying again is of no use; what was certified for it has to be certified for
    /// another key.
    #[error("the private key is gone")]
    Gone(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl SigningError {
    /// The key, or the device that holds it, failed.
    pub fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(cause.into()))
    }

    /// The private half is not there any more.
    pub fn gone(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Gone(Arc::from(cause.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_ordered() {
        assert!(Strength::Software < Strength::Hardware && Strength::Hardware < Strength::KeyGuard);
    }
}
