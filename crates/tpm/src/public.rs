//! Public areas of keys (TPM 2.0 Library, part 2, §12.2).

use symbolon_binding::device_key;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;

use crate::wire::{TpmReader, TpmWrite};

const RSA: u16 = 0x0001;
const ECC: u16 = 0x0023;
const SHA256: u16 = 0x000b;
const AES: u16 = 0x0006;
const CFB: u16 = 0x0043;
const ECDSA: u16 = 0x0018;
const NIST_P256: u16 = 0x0003;
pub(crate) const NULL: u16 = 0x0010;

const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const USER_WITH_AUTH: u32 = 1 << 6;
const NO_DA: u32 = 1 << 10;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// Attributes of a key that was created by this TPM and cannot leave it.
const NEVER_LEAVES: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;
/// Attributes of a key without an authorization value: wrong values for other keys do not lock it.
const USABLE: u32 = USER_WITH_AUTH | NO_DA;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TpmAlgorithm {
    Rsa2048,
    P256,
}

/// Returns the TCG's template of a storage key on P-256, from which a TPM derives the same key each
/// time (TCG TPM v2.0 Provisioning Guidance, section 7.5.1).
pub(crate) fn storage_template() -> Vec<u8> {
    let mut public = header(ECC, NEVER_LEAVES | USABLE | RESTRICTED | DECRYPT);
    for value in [AES, 128, CFB, NULL, NIST_P256, NULL] {
        public.u16(value);
    }
    public.sized(&[]);
    public.sized(&[]);
    public
}

impl TpmAlgorithm {
    /// Returns the public area of a key to create.
    pub(crate) fn template(self) -> Vec<u8> {
        let mut public = header(self.kind(), self.attributes());
        match self {
            Self::Rsa2048 => {
                for value in [NULL, NULL, 2048, 0, 0] {
                    public.u16(value);
                }
                public.sized(&[]);
            }
            Self::P256 => {
                for value in [NULL, ECDSA, SHA256, NIST_P256, NULL] {
                    public.u16(value);
                }
                public.sized(&[]);
                public.sized(&[]);
            }
        }
        public
    }

    /// Returns the public key if the area is a completed [`template`](Self::template). Any other
    /// area may belong to an imported key, whose private key is known outside of the TPM.
    pub(crate) fn read(self, public: &[u8]) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let template = self.template();
        // The template ends with the empty size of the modulus, or of both coordinates.
        let empty = if self == Self::Rsa2048 { 2 } else { 4 };
        let fixed = template.get(..template.len() - empty)?;
        let mut unique = TpmReader(public.strip_prefix(fixed)?);
        let key = match self {
            Self::Rsa2048 => {
                let modulus = unique.sized().filter(|modulus| modulus.len() == self.signature_bytes())?;
                // An exponent of zero means 65537 (TPM 2.0 Library, part 2, section 12.2.3.5).
                device_key::rsa_public_key(modulus, &[1, 0, 1])
            }
            Self::P256 => {
                let (x, y) = (coordinate(unique.sized()?)?, coordinate(unique.sized()?)?);
                device_key::p256_public_key(&[&[4][..], &x, &y].concat())
            }
        };
        if !unique.0.is_empty() {
            return None;
        }
        key.ok()
    }

    fn kind(self) -> u16 {
        match self {
            Self::Rsa2048 => RSA,
            Self::P256 => ECC,
        }
    }

    fn attributes(self) -> u32 {
        NEVER_LEAVES
            | USABLE
            | match self {
                // Both, because RSA signatures are computed by decrypting.
                Self::Rsa2048 => SIGN | DECRYPT,
                Self::P256 => SIGN,
            }
    }

    /// Returns the length of a signature: of the modulus, or of `r || s`.
    pub(crate) fn signature_bytes(self) -> usize {
        match self {
            Self::Rsa2048 => 256,
            Self::P256 => 64,
        }
    }
}

/// Restores the leading zeros of a coordinate, which a TPM may omit.
pub(crate) fn coordinate(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut padded = [0; 32];
    padded.get_mut(32_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(padded)
}

fn header(kind: u16, attributes: u32) -> Vec<u8> {
    let mut public = Vec::with_capacity(512);
    public.u16(kind);
    public.u16(SHA256);
    public.u32(attributes);
    // Empty policy.
    public.sized(&[]);
    public
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a public area as a TPM completes it.
    fn completed(algorithm: TpmAlgorithm) -> Vec<u8> {
        let mut public = algorithm.template();
        match algorithm {
            TpmAlgorithm::Rsa2048 => {
                public.truncate(public.len() - 2);
                public.sized(&[0xc5; 256]);
            }
            TpmAlgorithm::P256 => {
                public.truncate(public.len() - 4);
                // The generator (SEC 2, section 2.4.2).
                public.sized(&hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"));
                public.sized(&hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"));
            }
        }
        public
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn public_area_must_match_the_template() {
        for algorithm in [TpmAlgorithm::Rsa2048, TpmAlgorithm::P256] {
            let public = completed(algorithm);
            assert!(algorithm.read(&public).is_some());
            let fixed = algorithm.template().len() - 4;
            for at in 0..fixed {
                let mut other = public.clone();
                other[at] ^= 1;
                assert!(algorithm.read(&other).is_none(), "{algorithm:?} at {at}");
            }
            for length in 0..public.len() {
                assert!(algorithm.read(&public[..length]).is_none(), "{algorithm:?} of {length}");
            }
            assert!(algorithm.read(&[public, vec![0]].concat()).is_none());
        }
        assert!(TpmAlgorithm::P256.read(&completed(TpmAlgorithm::Rsa2048)).is_none());
    }

    #[test]
    fn coordinates_are_padded() {
        assert_eq!(coordinate(&[7]).map(|padded| (padded[0], padded[31])), Some((0, 7)));
        assert_eq!((coordinate(&[1; 32]), coordinate(&[1; 33])), (Some([1; 32]), None));
    }
}
