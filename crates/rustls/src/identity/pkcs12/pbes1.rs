//! The encryption of older PKCS#12 files (RFC 7292 appendix C).

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, InnerIvInit, KeyIvInit};
use des::TdesEde3;
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{self, Reader};
use pkcs8::spki::AlgorithmIdentifierRef;
use rc2::Rc2;
use sha1::Sha1;
use zeroize::Zeroizing;

use super::kdf::{KeyPurpose, Passphrase};
use crate::identity::LoadError;
use crate::identity::pbes2::Encrypted;
use crate::identity::work_budget::WorkBudget;

/// pbeWithSHAAnd3-KeyTripleDES-CBC (RFC 7292 appendix C): most keys from before OpenSSL 3.
const SHA1_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
/// pbeWithSHAAnd40BitRC2-CBC (RFC 7292 appendix C): most certificates from before OpenSSL 3.
const SHA1_RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");

#[derive(Clone, Copy)]
pub(super) enum Cipher {
    TripleDes,
    Rc2,
}

/// The parameters of the key derivation.
struct Pbes1Parameters<'a> {
    salt: &'a [u8],
    iterations: u32,
}

impl Cipher {
    pub(super) fn of(algorithm: ObjectIdentifier) -> Option<Self> {
        match algorithm {
            SHA1_3DES => Some(Self::TripleDes),
            SHA1_RC2_40 => Some(Self::Rc2),
            _ => None,
        }
    }

    pub(super) fn decrypt(
        self,
        encrypted: &Encrypted<'_>,
        passphrase: &Passphrase<'_>,
        budget: &mut WorkBudget,
    ) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let parameters = Pbes1Parameters::of(encrypted.algorithm).map_err(|_| LoadError::MalformedPkcs12)?;
        let Pbes1Parameters { salt, iterations } = parameters;
        let mut derive = |purpose, bytes| passphrase.derive::<Sha1>(purpose, salt, iterations, bytes, budget);
        let iv = derive(KeyPurpose::InitializationVector, 8)?;
        let mut text = Zeroizing::new(encrypted.ciphertext.to_vec());
        let length = match self {
            Self::TripleDes => {
                let key = derive(KeyPurpose::Encryption, 24)?;
                let cipher = Decryptor::<TdesEde3>::new_from_slices(&key, &iv);
                cipher.ok().and_then(|cipher| Some(cipher.decrypt_padded::<Pkcs7>(&mut text).ok()?.len()))
            }
            Self::Rc2 => {
                let key = derive(KeyPurpose::Encryption, 5)?;
                let cipher = Decryptor::inner_iv_slice_init(Rc2::new_with_eff_key_len(&key, 40), &iv);
                cipher.ok().and_then(|cipher| Some(cipher.decrypt_padded::<Pkcs7>(&mut text).ok()?.len()))
            }
        };
        text.truncate(length.ok_or(LoadError::WrongPassphrase)?);
        Ok(text)
    }
}

impl<'a> Pbes1Parameters<'a> {
    fn of(algorithm: AlgorithmIdentifierRef<'a>) -> der::Result<Self> {
        let parameters = algorithm.parameters.ok_or_else(|| der::Tag::Sequence.value_error())?;
        parameters.sequence(|reader| {
            let salt: &OctetStringRef = reader.decode()?;
            Ok(Self { salt: salt.as_bytes(), iterations: reader.decode()? })
        })
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::der::Decode;
    use pkcs8::der::asn1::AnyRef;

    use super::*;

    #[test]
    fn excessive_iterations_are_refused() {
        // A salt of four bytes and 2^24 iterations.
        let parameters = *b"\x30\x0c\x04\x04salt\x02\x04\x01\x00\x00\x00";
        let algorithm = AlgorithmIdentifierRef {
            oid: SHA1_3DES,
            parameters: Some(AnyRef::from_der(&parameters).unwrap()),
        };
        let encrypted = Encrypted { algorithm, ciphertext: &[0; 16] };
        let passphrase = Passphrase::terminated("pass");
        let decrypted = Cipher::TripleDes.decrypt(&encrypted, &passphrase, &mut WorkBudget::new());
        assert!(matches!(decrypted, Err(LoadError::ExcessiveWork)), "{:?}", decrypted.err());
    }
}
