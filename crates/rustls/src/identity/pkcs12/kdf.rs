//! Key derivation of PKCS#12 (RFC 7292 appendix B).

use sha1::Digest;
use sha1::digest::block_api::BlockSizeUser;
use zeroize::Zeroizing;

use crate::identity::LoadError;
use crate::identity::work_budget::WorkBudget;

/// A passphrase in the two encodings that a file may use at once.
pub(super) struct Passphrase<'a> {
    /// UTF-8, for PBES2.
    pub(super) text: &'a str,
    /// UTF-16, for all older schemes (RFC 7292 §B.1).
    wide: Zeroizing<Vec<u8>>,
}

/// The purpose of a derived key, by its number (RFC 7292 §B.3).
#[derive(Clone, Copy)]
pub(super) enum KeyPurpose {
    Encryption = 1,
    InitializationVector = 2,
    Mac = 3,
}

impl<'a> Passphrase<'a> {
    /// Encodes a passphrase with two zero bytes at its end (RFC 7292 §B.1).
    pub(super) fn terminated(text: &'a str) -> Self {
        // Three bytes of UTF-8 are at most two of UTF-16, one byte is two.
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        wide.extend(text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes));
        Self { text, wide }
    }

    /// Creates a passphrase of no bytes: the other encoding of an empty passphrase, which the files
    /// of Azure Key Vault use.
    pub(super) fn absent() -> Self {
        Self { text: "", wide: Zeroizing::default() }
    }

    /// Derives `length` bytes; the letters are those of RFC 7292 §B.2.
    pub(super) fn derive<D: Digest + BlockSizeUser>(
        &self,
        purpose: KeyPurpose,
        salt: &[u8],
        iterations: u32,
        length: usize,
        budget: &mut WorkBudget,
    ) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        budget.charge(iterations, length.div_ceil(<D as Digest>::output_size()))?;
        let v = D::block_size();
        let d = vec![purpose as u8; v];
        let mut i = Zeroizing::new(Vec::with_capacity(salt.len() + self.wide.len() + 2 * v));
        for part in [salt, self.wide.as_slice()] {
            i.extend(part.iter().cycle().take(part.len().div_ceil(v) * v));
        }
        let mut derived = Zeroizing::new(Vec::with_capacity(length + <D as Digest>::output_size()));
        while derived.len() < length {
            let mut a = D::new().chain_update(&d).chain_update(&*i).finalize();
            for _ in 1..iterations {
                a = D::digest(&a);
            }
            derived.extend_from_slice(&a);
            let b: Zeroizing<Vec<u8>> = Zeroizing::new(a.iter().copied().cycle().take(v).collect());
            for block in i.chunks_mut(v) {
                add_and_one(block, &b);
            }
        }
        derived.truncate(length);
        Ok(derived)
    }
}

/// Adds a number and 1 to a number of the same length, big-endian, and drops the last carry.
fn add_and_one(number: &mut [u8], other: &[u8]) {
    let mut carry = 1;
    for (digit, other) in number.iter_mut().zip(other).rev() {
        let [high, low] = (u16::from(*digit) + u16::from(*other) + carry).to_be_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use sha1::Sha1;
    use sha2::{Sha256, Sha512};

    use super::*;

    const SALT: [u8; 20] = *b"a salt of 20 bytes..";

    #[test]
    fn openssl_derives_the_same_keys() {
        type Derive = fn(&Passphrase<'_>, KeyPurpose, usize) -> Zeroizing<Vec<u8>>;
        let digests: [(&str, Derive); 3] = [
            ("SHA1", |passphrase, purpose, length| {
                passphrase.derive::<Sha1>(purpose, &SALT, 1000, length, &mut WorkBudget::new()).unwrap()
            }),
            ("SHA256", |passphrase, purpose, length| {
                passphrase.derive::<Sha256>(purpose, &SALT, 1000, length, &mut WorkBudget::new()).unwrap()
            }),
            ("SHA512", |passphrase, purpose, length| {
                passphrase.derive::<Sha512>(purpose, &SALT, 1000, length, &mut WorkBudget::new()).unwrap()
            }),
        ];
        let long = "a passphrase that is longer than the blocks of every digest are, which is 128 bytes";
        for text in ["", "pass", "påss🔑", long] {
            let passphrase = Passphrase::terminated(text);
            for purpose in [KeyPurpose::Encryption, KeyPurpose::InitializationVector, KeyPurpose::Mac] {
                for (digest, derive) in digests {
                    // One round, part of one, and several.
                    for length in [8, 24, 200] {
                        let ours = derive(&passphrase, purpose, length);
                        let Some(expected) = by_openssl(digest, &passphrase.wide, purpose, length) else {
                            return;
                        };
                        assert_eq!(hex(&ours), expected, "{text} {digest} {} {length}", purpose as u8);
                    }
                }
            }
        }
    }

    /// Returns `None` if openssl is not installed.
    fn by_openssl(digest: &str, wide: &[u8], purpose: KeyPurpose, length: usize) -> Option<String> {
        let output = Command::new("openssl")
            .args(["kdf", "-keylen", &length.to_string()])
            .args(["-kdfopt", &format!("digest:{digest}")])
            .args(["-kdfopt", &format!("hexpass:{}", hex(wide))])
            .args(["-kdfopt", &format!("hexsalt:{}", hex(&SALT))])
            .args(["-kdfopt", "iter:1000", "-kdfopt", &format!("id:{}", purpose as u8)])
            .arg("PKCS12KDF")
            .output();
        let Ok(output) = output else {
            println!("skipped: there is no openssl on this machine");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap().trim().replace(':', "").to_lowercase())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
