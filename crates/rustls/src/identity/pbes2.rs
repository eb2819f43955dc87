//! Encrypted private keys: PBES2 (RFC 8018 §6.2).

use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode, Reader};
use pkcs8::pkcs5::Error;
use pkcs8::pkcs5::pbes2::{PBES2_OID, Parameters};
use pkcs8::spki::AlgorithmIdentifierRef;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use symbolon_types::Secret;
use zeroize::Zeroizing;

use super::LoadError;
use super::work_budget::WorkBudget;

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

    pub(super) fn decrypt(
        &self,
        passphrase: &str,
        budget: &mut WorkBudget,
    ) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let unsupported = LoadError::UnsupportedEncryption;
        let AlgorithmIdentifierRef { oid: PBES2_OID, parameters: Some(parameters) } = self.algorithm else {
            return Err(unsupported);
        };
        let Ok(parameters) = Parameters::try_from(parameters) else { return Err(unsupported) };
        budget.charge_pbes2(&parameters)?;
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
    decrypted_key(&encrypted.decrypt(passphrase.expose(), &mut WorkBudget::new())?)
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
