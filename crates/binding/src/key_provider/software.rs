//! Keys in memory.

use symbolon_files::spawn_blocking;
use symbolon_types::{Error, ErrorKind, SharedSigningKey};

use super::KeyProvider;
use super::p256::P256Key;
use super::rsa::RsaKey;

/// Key provider that creates a new key in memory for each mint. A key exists until the last binding
/// that uses it is dropped.
///
/// Keys are created with [`spawn_blocking`]. An RSA key takes tens of milliseconds, sometimes
/// several times that; a P-256 key takes less than one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), symbolon_binding::Error> {
/// use symbolon_binding::{KeyProvider, SoftwareKeys};
/// use symbolon_types::{SigningKey, Strength};
///
/// let key = SoftwareKeys::p256().key().await?;
/// assert_eq!(key.strength(), Strength::Software);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SoftwareKeys(SoftwareAlgorithm);

#[derive(Clone, Copy, Debug)]
pub(super) enum SoftwareAlgorithm {
    Rsa2048,
    P256,
}

impl SoftwareKeys {
    /// Creates RSA keys of 2048 bits, the kind that `IMDSv2` certifies
    /// (docs/protocol/imdsv2.md#certificate-request).
    pub fn rsa_2048() -> Self {
        Self(SoftwareAlgorithm::Rsa2048)
    }

    /// Creates ECDSA keys on P-256. No released client of `IMDSv2` is known to use them.
    pub fn p256() -> Self {
        Self(SoftwareAlgorithm::P256)
    }
}

impl Default for SoftwareKeys {
    fn default() -> Self {
        Self::rsa_2048()
    }
}

impl KeyProvider for SoftwareKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let algorithm = self.0;
        let create = move || match algorithm {
            SoftwareAlgorithm::Rsa2048 => RsaKey::generate_2048().map(SharedSigningKey::new),
            SoftwareAlgorithm::P256 => P256Key::generate().map(SharedSigningKey::new),
        };
        spawn_blocking(create).await?.ok_or_else(creation_error)
    }
}

pub(super) fn creation_error() -> Error {
    Error::new(ErrorKind::Environment, "key_creation_failed", "could not create a key in software")
        .with_advice("check the random number source of this machine")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
    use futures_util::FutureExt;
    use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};
    use x509_cert::der::Decode;
    use x509_cert::spki::SubjectPublicKeyInfoRef;

    use super::*;

    const MESSAGE: &[u8] = b"a message";

    fn verifier(scheme: SignatureScheme) -> &'static dyn VerificationAlgorithm {
        match scheme {
            SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            SignatureScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            SignatureScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            other => panic!("{other:?} is not offered"),
        }
    }

    #[tokio::test]
    async fn all_offered_schemes_verify() {
        for (keys, offered) in [(SoftwareKeys::rsa_2048(), 6), (SoftwareKeys::p256(), 1)] {
            let key = keys.key().await.unwrap();
            assert_eq!(key.schemes().len(), offered, "{keys:?}");
            let spki = SubjectPublicKeyInfoRef::from_der(key.public_key()).unwrap();
            for &scheme in key.schemes() {
                let public = UnparsedPublicKey::new(verifier(scheme), spki.subject_public_key.raw_bytes());
                let signature = key.sign(scheme, MESSAGE).unwrap();
                assert!(public.verify(MESSAGE, &signature).is_ok(), "{scheme:?}");
                assert!(public.verify(b"another message", &signature).is_err(), "{scheme:?}");
            }
        }
    }

    #[tokio::test]
    async fn other_schemes_are_refused() {
        for (keys, foreign) in [
            (SoftwareKeys::rsa_2048(), SignatureScheme::EcdsaP256Sha256),
            (SoftwareKeys::p256(), SignatureScheme::RsaPssSha256),
            (SoftwareKeys::p256(), SignatureScheme::EcdsaP384Sha384),
        ] {
            let refused = keys.key().await.unwrap().sign(foreign, MESSAGE);
            assert!(matches!(refused, Err(SigningError::UnsupportedScheme(scheme)) if scheme == foreign));
        }
    }

    #[tokio::test]
    async fn each_key_is_new() {
        for keys in [SoftwareKeys::default(), SoftwareKeys::p256()] {
            let (one, other) = (keys.key().await.unwrap(), keys.key().await.unwrap());
            assert_ne!(one.public_key(), other.public_key(), "{keys:?}");
            assert_eq!(one.strength(), Strength::Software);
        }
    }

    #[test]
    fn key_is_created_without_a_runtime() {
        let keys = SoftwareKeys::p256();
        let mut key = Box::pin(keys.key());
        let made = loop {
            match (&mut key).now_or_never() {
                Some(made) => break made,
                None => std::thread::yield_now(),
            }
        };
        assert!(made.is_ok());
    }

    #[tokio::test]
    async fn debug_hides_the_key() {
        for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
            let shown = format!("{:?}", keys.key().await.unwrap());
            assert!(shown.len() < 60 && shown.ends_with("{ .. })"), "{shown}");
        }
    }
}
