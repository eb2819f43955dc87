//! Encrypted private keys: PBES2 (RFC 8018 §6.2).

use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode, Reader};
use pkcs8::pkcs5::Error;
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID, Parameters};
use pkcs8::spki::AlgorithmIdentifierRef;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use symbolon_types::Secret;
use zeroize::Zeroizing;

use super::LoadError;

/// The most iterations that a file may require; they take some seconds. In 2023, OWASP recommended
/// 1,300,000 for PBKDF2 with SHA-1, and fewer for other digests.
pub(super) const MAX_ITERATIONS: u32 = 10_000_000;
/// The most bytes of memory that a file may require. OpenSSL uses 16 MiB.
const MAX_SCRYPT_MEMORY: u64 = 1 << 30;
/// The most passes through that memory. OpenSSL uses one.
const MAX_SCRYPT_PARALLELIZATION: u16 = 16;

/// A ciphertext and its algorithm.
pub(super) struct Encrypted<'a> {
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) ciphertext: &'a [u8],
}

impl<'a> Encrypted<'a> {
    /// Parses an EncryptedPrivateKeyInfo (RFC 5958 §3).
    pub(super) fn private_key(info: AnyRef<'a>) -> der::Result<Self> {
        info.sequence(|reader| {
            let algorithm = reader.decode()?;
            let ciphertext: &OctetStringRef = reader.decode()?;
            Ok(Self { algorithm, ciphertext: ciphertext.as_bytes() })
        })
    }

    pub(super) fn decrypt(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let unsupported = LoadError::UnsupportedEncryption;
        let AlgorithmIdentifierRef { oid: PBES2_OID, parameters: Some(parameters) } = self.algorithm else {
            return Err(unsupported);
        };
        let Ok(parameters) = Parameters::try_from(parameters) else { return Err(unsupported) };
        if !is_affordable(&parameters.kdf) {
            return Err(unsupported);
        }
        match parameters.decrypt(passphrase, self.ciphertext) {
            Ok(plaintext) => Ok(Zeroizing::new(plaintext)),
            Err(Error::DecryptFailed) => Err(LoadError::WrongPassphrase),
            Err(_) => Err(unsupported),
        }
    }
}

/// Decrypts the DER of an `ENCRYPTED PRIVATE KEY`.
pub(super) fn decrypt_key(
    der: &[u8],
    passphrase: &Secret,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    let info = AnyRef::from_der(der).and_then(Encrypted::private_key);
    let encrypted =
        info.map_err(|_| LoadError::unusable_key("it is not an EncryptedPrivateKeyInfo in DER"))?;
    decrypted_key(&encrypted.decrypt(passphrase.expose())?)
}

/// Returns the decrypted key. The padding of garbage is well-formed once in 256 times, so the
/// passphrase counts as right only if the result begins like a PrivateKeyInfo (RFC 5958 §2).
pub(super) fn decrypted_key(plaintext: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    let begins_like_a_key = AnyRef::from_der(plaintext).and_then(|info| {
        info.sequence(|reader| {
            let _version: u8 = reader.decode()?;
            let _algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
            reader.drain(reader.remaining_len())
        })
    });
    match begins_like_a_key {
        Ok(()) => Ok(pkcs8_key(plaintext)),
        Err(_) => Err(LoadError::WrongPassphrase),
    }
}

pub(super) fn pkcs8_key(der: &[u8]) -> Zeroizing<PrivateKeyDer<'static>> {
    Zeroizing::new(PrivatePkcs8KeyDer::from(der.to_vec()).into())
}

fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MAX_ITERATIONS,
        Kdf::Scrypt(parameters) => {
            // RFC 7914 §2: 128 bytes for each of N blocks of size r.
            let memory = parameters.cost_parameter.checked_mul(128 * u64::from(parameters.block_size));
            memory.is_some_and(|memory| memory <= MAX_SCRYPT_MEMORY)
                && parameters.parallelization <= MAX_SCRYPT_PARALLELIZATION
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::{Pbkdf2Params, Salt, ScryptParams};

    use super::*;

    #[test]
    fn excessive_work_is_refused() {
        let pbkdf2 = |iterations| Kdf::Pbkdf2(Pbkdf2Params::hmac_sha256(iterations, b"salt").unwrap());
        assert!(is_affordable(&pbkdf2(MAX_ITERATIONS)));
        assert!(!is_affordable(&pbkdf2(MAX_ITERATIONS + 1)));

        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = Salt::new(b"salt").unwrap();
            is_affordable(&Kdf::Scrypt(ScryptParams {
                salt,
                cost_parameter,
                block_size,
                parallelization,
                key_length: None,
            }))
        };
        assert!(scrypt(1 << 14, 8, 1), "OpenSSL");
        assert!(scrypt(1 << 20, 8, 16));
        assert!(!scrypt(1 << 21, 8, 1));
        assert!(!scrypt(1 << 14, 8, 17));
        assert!(!scrypt(1 << 63, 8, 1), "an overflow");
    }
}
