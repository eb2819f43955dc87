//! Whether a key is still there, and is the one it says it is.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use symbolon_types::{Error, ErrorKind, SharedSigningKey, SignatureScheme, SigningError, SigningKey};

use crate::csr::RequestAlgorithm;

/// Has the key sign random bytes and verifies the signature with its public half.
///
/// What a handle stands for can vanish without the handle: with a reboot (keys of Windows KeyGuard
/// live as long as the boot), a token that was initialized anew, an object that somebody deleted. A
/// certificate that is still there says nothing about its key, so whoever takes one out of a
/// store asks the key first. A key that is to be certified needs no probe: its signature on the
/// certificate request is verified before the request is sent.
///
/// It blocks for as long as the key takes to sign.
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
/// `key_gone` when the key says that it is not there any more: make another one. `key_unusable`
/// when it cannot sign, or signs as another key. `key_not_supported` when no certificate can be
/// asked for it.
pub fn probe_key(key: &SharedSigningKey) -> Result<(), Error> {
    let mut challenge = [0; 32];
    SystemRandom::new().fill(&mut challenge).map_err(|error| unusable().with_source(error))?;
    proven_signature(key, RequestAlgorithm::of(key)?.scheme(), &challenge).map(drop)
}

/// A signature that holds.
pub(crate) fn proven_signature(
    key: &SharedSigningKey,
    scheme: SignatureScheme,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let signature = key.sign(scheme, message).map_err(|error| match error {
        SigningError::Gone(_) => {
            Error::new(ErrorKind::Environment, "key_gone", "the key to be certified is not there any more")
                .with_advice("ask the key provider for another one")
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
            "its signature does not fit its public key: check that the key provider reports the right one",
        )),
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::Environment, "key_unusable", "the key to be certified could not sign")
        .with_advice("check that the key is still present and may be used")
}

#[cfg(test)]
mod tests {
    use symbolon_types::Strength;
    use symbolon_types::pki_types::SubjectPublicKeyInfoDer;

    use super::*;
    use crate::{KeyProvider, SoftwareKeys};

    type Signs = fn() -> Result<Vec<u8>, SigningError>;

    /// A public key with what signs in its place.
    #[derive(Debug)]
    struct Impostor {
        public: SharedSigningKey,
        signs: Signs,
    }

    impl SigningKey for Impostor {
        fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
            self.public.public_key()
        }
        fn schemes(&self) -> &[SignatureScheme] {
            self.public.schemes()
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SigningError> {
            (self.signs)()
        }
        fn strength(&self) -> Strength {
            self.public.strength()
        }
    }

    #[tokio::test]
    async fn a_key_that_signs_is_alive_and_any_other_is_told_by_its_code() {
        for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
            let key = keys.key().await.unwrap();
            probe_key(&key).unwrap();
            let imposed: [(Signs, _); 4] = [
                (|| Err(SigningError::gone("deleted")), "key_gone"),
                (|| Err(SigningError::failed("unplugged")), "key_unusable"),
                (|| Ok(vec![1; 256]), "key_unusable"),
                (|| Ok(Vec::new()), "key_unusable"),
            ];
            for (signs, code) in imposed {
                let impostor = SharedSigningKey::new(Impostor { public: key.clone(), signs });
                assert_eq!(probe_key(&impostor).unwrap_err().code(), code, "{keys:?}");
            }
        }
    }
}
