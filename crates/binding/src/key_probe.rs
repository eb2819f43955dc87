//! Proof that a private key is available and matches its public key.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use symbolon_types::{Error, ErrorKind, SharedSigningKey, SignatureScheme, SigningError, SigningKey};

use crate::csr_algorithm::CsrAlgorithm;

/// Signs random bytes with the key and verifies the signature with its public key.
///
/// A key can vanish while its handle remains: by a reboot (keys of Windows KeyGuard exist until the
/// next boot), a token that is initialized again, or an object that is deleted. Probe the key
/// before you use a stored certificate. A key that is about to be certified needs no probe, because
/// its signature on the certificate request is verified before the request is sent.
///
/// Blocks for as long as the key takes to sign.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), symbolon_binding::Error> {
/// use symbolon_binding::{KeyProvider, SoftwareKeys, probe_key};
///
/// let key = SoftwareKeys::p256().key().await?;
/// probe_key(&key)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// `key_gone` when the key no longer exists: create another one. `key_unusable` when it cannot
/// sign, or its signature does not match its public key. `key_not_supported` when no certificate
/// can be requested for it.
pub fn probe_key(key: &SharedSigningKey) -> Result<(), Error> {
    let mut challenge = [0; 32];
    SystemRandom::new().fill(&mut challenge).map_err(|error| unusable().with_source(error))?;
    sign_and_verify(key, CsrAlgorithm::of(key)?.scheme(), &challenge).map(drop)
}

/// Signs a message, and verifies the signature with the public key.
pub(crate) fn sign_and_verify(
    key: &SharedSigningKey,
    scheme: SignatureScheme,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let signature = key.sign(scheme, message).map_err(|error| match error {
        SigningError::Gone(_) => {
            Error::new(ErrorKind::Environment, "key_gone", "the key to be certified no longer exists")
                .with_advice("request another key from the key provider")
                .with_source(error)
        }
        other => unusable().with_source(other),
    })?;
    let verifier: &dyn VerificationAlgorithm = match scheme {
        SignatureScheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
        _ => &ECDSA_P256_SHA256_ASN1,
    };
    let public = UnparsedPublicKey::new(verifier, key.public_key());
    match public.verify(message, &signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(unusable().with_advice(
            "its signature does not match its public key: check that the key provider returns the right one",
        )),
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::Environment, "key_unusable", "the key to be certified could not sign")
        .with_advice("check that the key still exists and that this process may use it")
}

#[cfg(test)]
mod tests {
    use symbolon_types::Strength;
    use symbolon_types::pki_types::SubjectPublicKeyInfoDer;

    use super::*;
    use crate::{KeyProvider, SoftwareKeys};

    type SignFn = fn() -> Result<Vec<u8>, SigningError>;

    /// Public key of one key, with another function to sign.
    #[derive(Debug)]
    struct MismatchedKey {
        public: SharedSigningKey,
        sign: SignFn,
    }

    impl SigningKey for MismatchedKey {
        fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
            self.public.public_key()
        }
        fn schemes(&self) -> &[SignatureScheme] {
            self.public.schemes()
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SigningError> {
            (self.sign)()
        }
        fn strength(&self) -> Strength {
            self.public.strength()
        }
    }

    #[tokio::test]
    async fn probe_detects_keys_that_do_not_sign() {
        for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
            let key = keys.key().await.unwrap();
            probe_key(&key).unwrap();
            let cases: [(SignFn, _); 4] = [
                (|| Err(SigningError::gone("deleted")), "key_gone"),
                (|| Err(SigningError::failed("unplugged")), "key_unusable"),
                (|| Ok(vec![1; 256]), "key_unusable"),
                (|| Ok(Vec::new()), "key_unusable"),
            ];
            for (sign, code) in cases {
                let key = SharedSigningKey::new(MismatchedKey { public: key.clone(), sign });
                assert_eq!(probe_key(&key).unwrap_err().code(), code, "{keys:?}");
            }
        }
    }
}
