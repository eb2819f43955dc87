//! The MAC of a PKCS#12 file (RFC 7292 §4), which verifies the passphrase.

use hmac::{KeyInit, Mac as _, SimpleHmac};
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Reader};
use pkcs8::spki::AlgorithmIdentifierRef;
use sha1::digest::block_api::BlockSizeUser;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use super::kdf::{KeyPurpose, Passphrase};
use crate::identity::LoadError;
use crate::identity::work_budget::WorkBudget;

/// id-sha1 (RFC 8017 §A.2.1).
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// id-sha256 (RFC 8017 §A.2.1).
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// id-sha384 (RFC 8017 §A.2.1).
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
/// id-sha512 (RFC 8017 §A.2.1).
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// A MacData (RFC 7292 §4).
pub(super) struct Mac<'a> {
    digest: ObjectIdentifier,
    tag: &'a [u8],
    salt: &'a [u8],
    iterations: u32,
}

impl<'a> Mac<'a> {
    pub(super) fn parse(data: AnyRef<'a>) -> der::Result<Self> {
        data.sequence(|reader| {
            let info: AnyRef<'a> = reader.decode()?;
            let salt: &OctetStringRef = reader.decode()?;
            let iterations: Option<u32> = reader.decode()?;
            info.sequence(|reader| {
                let algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
                let tag: &OctetStringRef = reader.decode()?;
                Ok(Self {
                    digest: algorithm.oid,
                    tag: tag.as_bytes(),
                    salt: salt.as_bytes(),
                    iterations: iterations.unwrap_or(1),
                })
            })
        })
    }

    pub(super) fn verify(
        &self,
        message: &[u8],
        passphrase: &Passphrase<'_>,
        budget: &mut WorkBudget,
    ) -> Result<(), LoadError> {
        let is_right = match self.digest {
            SHA1 => self.is_made_with::<Sha1>(message, passphrase, budget)?,
            SHA256 => self.is_made_with::<Sha256>(message, passphrase, budget)?,
            SHA384 => self.is_made_with::<Sha384>(message, passphrase, budget)?,
            SHA512 => self.is_made_with::<Sha512>(message, passphrase, budget)?,
            _ => return Err(LoadError::UnsupportedEncryption),
        };
        if is_right { Ok(()) } else { Err(LoadError::WrongPassphrase) }
    }

    fn is_made_with<D: Digest + BlockSizeUser>(
        &self,
        message: &[u8],
        passphrase: &Passphrase<'_>,
        budget: &mut WorkBudget,
    ) -> Result<bool, LoadError> {
        let length = <D as Digest>::output_size();
        let key = passphrase.derive::<D>(KeyPurpose::Mac, self.salt, self.iterations, length, budget)?;
        // HMAC takes keys of any length.
        let hmac = SimpleHmac::<D>::new_from_slice(&key);
        Ok(hmac.is_ok_and(|hmac| hmac.chain_update(message).verify_slice(self.tag).is_ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excessive_or_unknown_macs_are_refused() {
        let pbmac1 = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
        for (digest, iterations, expected) in
            [(SHA1, u32::MAX, "ExcessiveWork"), (pbmac1, 1, "UnsupportedEncryption")]
        {
            let mac = Mac { digest, tag: &[0; 20], salt: b"salt", iterations };
            let passphrase = Passphrase::terminated("pass");
            let refused = mac.verify(b"message", &passphrase, &mut WorkBudget::new()).unwrap_err();
            assert_eq!(format!("{refused:?}"), expected);
        }
    }
}
