//! Signature algorithms of client assertions.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha1::{Digest, Sha1};
use symbolon_types::{ClientIdentity, SharedSigningKey, SignatureScheme, SigningKey};

use super::ecdsa;

/// The length of a signature by an RSA key of 2048 bits, the minimum of RFC 7518 §3.3 and §3.5.
const SHORTEST_RSA_SIGNATURE: usize = 2048 / 8;
/// The length of a scalar of P-256 in bytes (RFC 7518 §3.4).
const P256_SCALAR: usize = 32;
/// The length of a scalar of P-384 in bytes.
const P384_SCALAR: usize = 48;

/// A signature algorithm of a client assertion (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JwsAlgorithm {
    Ps256,
    Rs256,
    Es256,
    Es384,
}

impl JwsAlgorithm {
    /// Returns the `alg` of the header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    pub(super) fn scheme(self) -> SignatureScheme {
        match self {
            Self::Ps256 => SignatureScheme::RsaPssSha256,
            Self::Rs256 => SignatureScheme::RsaPkcs1Sha256,
            Self::Es256 => SignatureScheme::EcdsaP256Sha256,
            Self::Es384 => SignatureScheme::EcdsaP384Sha384,
        }
    }

    /// Returns the header member that identifies the certificate, and its value (RFC 7515 §4.1.7,
    /// §4.1.8).
    pub(super) fn thumbprint(self, identity: &ClientIdentity) -> (&'static str, String) {
        match self {
            Self::Rs256 => {
                let leaf: &[u8] = identity.chain().first().map(AsRef::as_ref).unwrap_or_default();
                ("x5t", Base64UrlUnpadded::encode_string(&Sha1::digest(leaf)))
            }
            Self::Ps256 | Self::Es256 | Self::Es384 => ("x5t#S256", identity.thumbprint().to_string()),
        }
    }

    /// Converts a signature to its form in a JWS; `None` if it is not a signature of this
    /// algorithm.
    pub(super) fn jws_form(self, signature: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Ps256 | Self::Rs256 => {
                Some(signature).filter(|bytes| bytes.len() >= SHORTEST_RSA_SIGNATURE)
            }
            Self::Es256 => ecdsa::fixed_from_der(&signature, P256_SCALAR),
            Self::Es384 => ecdsa::fixed_from_der(&signature, P384_SCALAR),
        }
    }

    fn is_supported_by(self, key: &SharedSigningKey) -> bool {
        key.schemes().contains(&self.scheme())
    }
}

/// The algorithm for a key, and the one to use if the key fails with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AlgorithmChoice {
    pub(super) preferred: JwsAlgorithm,
    pub(super) fallback: Option<JwsAlgorithm>,
}

impl AlgorithmChoice {
    /// Returns the best algorithm that a key supports. Only RSA keys have a fallback.
    pub(super) fn for_key(key: &SharedSigningKey) -> Option<Self> {
        let by_preference =
            [JwsAlgorithm::Ps256, JwsAlgorithm::Rs256, JwsAlgorithm::Es256, JwsAlgorithm::Es384];
        let mut supported = by_preference.into_iter().filter(|algorithm| algorithm.is_supported_by(key));
        let preferred = supported.next()?;
        let fallback =
            supported.next().filter(|next| (preferred, *next) == (JwsAlgorithm::Ps256, JwsAlgorithm::Rs256));
        Some(Self { preferred, fallback })
    }

    /// Returns RS256, if the key supports it.
    pub(super) fn rs256(key: &SharedSigningKey) -> Option<Self> {
        JwsAlgorithm::Rs256
            .is_supported_by(key)
            .then_some(Self { preferred: JwsAlgorithm::Rs256, fallback: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rsa_signature_is_refused() {
        for algorithm in [JwsAlgorithm::Ps256, JwsAlgorithm::Rs256] {
            for (length, accepted) in [(0, false), (128, false), (255, false), (256, true), (512, true)] {
                let form = algorithm.jws_form(vec![7; length]);
                assert_eq!(form, accepted.then(|| vec![7; length]), "{algorithm:?} {length}");
            }
        }
    }
}
