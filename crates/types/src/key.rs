//! Signing keys.

use std::fmt;
use std::sync::Arc;

use pki_types::SubjectPublicKeyInfoDer;

use crate::panic::catch_panic;

/// A private key that signs and cannot be exported.
///
/// The key may be in memory, in a TPM, behind PKCS#11 or in a remote service. TLS handshakes call
/// `sign`, so it should return within milliseconds: a slow device blocks the calling thread.
pub trait SigningKey: fmt::Debug + Send + Sync + 'static {
    /// Returns the public key as a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static>;

    /// Returns the supported schemes, preferred first.
    ///
    /// An RSA key should support RSASSA-PSS and PKCS#1 v1.5: TLS 1.3 requires the first, a TLS 1.2
    /// server may choose either.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs a message (not its digest). ECDSA signatures are DER encoded.
    ///
    /// # Errors
    /// [`SigningError`] if the scheme is not supported or the device fails; [`SigningError::Gone`]
    /// only if the private key no longer exists.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError>;

    /// Returns the protection of the private key, as far as the provider can prove it.
    fn strength(&self) -> Strength;

    /// Returns the place of the private key, for people and for other programs that use the same
    /// key: the path of its file, or a URI such as `pkcs11:` (RFC 7512). It contains no secret.
    /// Default: `None`, for a key in memory.
    fn location(&self) -> Option<&str> {
        None
    }
}

/// A handle to any [`SigningKey`]. Clones are cheap and share the key.
#[derive(Clone, Debug)]
pub struct SharedSigningKey(Arc<dyn SigningKey>);

impl SharedSigningKey {
    /// Creates a handle.
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
        // A key of a program must not end the handshake of the TLS library with a panic.
        catch_panic("the private key", || self.0.sign(scheme, message))
            .unwrap_or_else(|error| Err(SigningError::failed(error)))
    }

    fn strength(&self) -> Strength {
        self.0.strength()
    }

    fn location(&self) -> Option<&str> {
        self.0.location()
    }
}

/// A signature scheme of TLS (RFC 8446 §4.2.3) that client keys use.
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

/// The protection of a private key, ordered from weak to strong.
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
    /// Returns the name in options and JSON: `software`, `hardware`, `keyguard`.
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

/// The error of signing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The key does not support this scheme.
    #[error("the key cannot sign with {0:?}")]
    UnsupportedScheme(SignatureScheme),
    /// The key or its device failed; see the source.
    #[error("the private key failed to sign")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The private key no longer exists: it was deleted, or lost with a reboot or with its device.
    /// A retry cannot succeed; a certificate for another key is needed.
    #[error("the private key no longer exists")]
    Gone(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl SigningError {
    /// Creates the error of a key or device that failed.
    pub fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(cause.into()))
    }

    /// Creates the error of a key that no longer exists.
    pub fn gone(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Gone(Arc::from(cause.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct PanickingKey;

    impl SigningKey for PanickingKey {
        fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
            panic!("this key only signs")
        }
        fn schemes(&self) -> &[SignatureScheme] {
            &[]
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SigningError> {
            panic!("s3cr3t")
        }
        fn strength(&self) -> Strength {
            Strength::Software
        }
    }

    #[test]
    fn panicking_key_fails_to_sign() {
        let key = SharedSigningKey::new(PanickingKey);
        let error = key.sign(SignatureScheme::EcdsaP256Sha256, b"message").unwrap_err();
        assert!(matches!(error, SigningError::Failed(_)) && !format!("{error:?}").contains("s3cr3t"));
    }

    #[test]
    fn strengths_are_ordered() {
        assert!(Strength::Software < Strength::Hardware && Strength::Hardware < Strength::KeyGuard);
    }
}
