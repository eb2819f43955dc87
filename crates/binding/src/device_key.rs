//! Encodings of public keys, digests and signatures, for providers of keys in devices.
//!
//! A device returns the parts of a public key and signs digests. A
//! [`SigningKey`](symbolon_types::SigningKey) returns a SubjectPublicKeyInfo and signs messages.
//! The functions of this module convert between the two, for PKCS#11, TPMs, CNG and remote
//! services.

mod rsa_padding;

use aws_lc_rs::digest::{self, Algorithm};
use p256::PublicKey;
use p256::ecdsa::Signature;
use p256::elliptic_curve::sec1::ToSec1Point;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{Error, ErrorKind, SignatureScheme, SigningError};
use x509_cert::der::asn1::{Any, BitString, Null, UintRef};
use x509_cert::der::oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1};
use x509_cert::der::{self, Encode, Tag};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

pub use self::rsa_padding::{emsa_pkcs1_v1_5, emsa_pss};

/// Signature schemes of an RSA key, preferred first: TLS 1.3 requires RSASSA-PSS, a TLS 1.2 server
/// may choose PKCS#1 v1.5.
pub const RSA_SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::RsaPssSha256,
    SignatureScheme::RsaPssSha384,
    SignatureScheme::RsaPssSha512,
    SignatureScheme::RsaPkcs1Sha256,
    SignatureScheme::RsaPkcs1Sha384,
    SignatureScheme::RsaPkcs1Sha512,
];

/// Encodes an RSA public key from its big-endian modulus and exponent.
///
/// # Errors
/// `key_not_supported` when modulus or exponent is empty.
pub fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let encode = || -> der::Result<Vec<u8>> {
        // RFC 8017 §A.1.1, within RFC 3279 §2.3.1.
        let fields = [UintRef::new(modulus)?.to_der()?, UintRef::new(exponent)?.to_der()?];
        let key = Any::new(Tag::Sequence, fields.concat())?.to_der()?;
        let algorithm = AlgorithmIdentifier { oid: RSA_ENCRYPTION, parameters: Some(Null) };
        SubjectPublicKeyInfo { algorithm, subject_public_key: BitString::from_bytes(&key)? }.to_der()
    };
    if modulus.is_empty() || exponent.is_empty() {
        return Err(invalid_public_key());
    }
    encode().map(SubjectPublicKeyInfoDer::from).map_err(|_| invalid_public_key())
}

/// Encodes a public key on P-256 from its point, encoded as in SEC 1 §2.3.3: `04 || x || y`.
///
/// # Errors
/// `key_not_supported` when this is not a point of the curve.
pub fn p256_public_key(point: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let key = PublicKey::from_sec1_bytes(point).map_err(|_| invalid_public_key())?;
    let encode = || -> der::Result<Vec<u8>> {
        // RFC 5480 §2: the curve by name, the point uncompressed.
        let algorithm = AlgorithmIdentifier { oid: ID_EC_PUBLIC_KEY, parameters: Some(SECP_256_R_1) };
        let point = key.to_sec1_point(false);
        SubjectPublicKeyInfo { algorithm, subject_public_key: BitString::from_bytes(point.as_bytes())? }
            .to_der()
    };
    encode().map(SubjectPublicKeyInfoDer::from).map_err(|_| invalid_public_key())
}

/// Encodes an ECDSA signature on P-256 for TLS and X.509 (RFC 3279 §2.2.3), from `r || s` of 32
/// bytes each, as most devices return it.
///
/// # Errors
/// When `r` or `s` is not in the range of the curve's order.
pub fn ecdsa_signature(numbers: &[u8]) -> Result<Vec<u8>, SigningError> {
    let signature = Signature::from_slice(numbers).map_err(SigningError::failed)?;
    Ok(signature.to_der().as_bytes().to_vec())
}

/// Returns the digest of a message, by the digest algorithm of the scheme.
///
/// # Errors
/// [`SigningError::UnsupportedScheme`] for any other scheme.
pub fn digest(scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
    Ok(digest::digest(algorithm(scheme)?, message).as_ref().to_vec())
}

/// Returns the `DigestInfo` of a message (RFC 8017 §9.2), for devices that only apply the padding,
/// such as `CKM_RSA_PKCS`.
///
/// # Errors
/// [`SigningError::UnsupportedScheme`] for any other scheme.
pub fn digest_info(scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
    // RFC 8017 §9.2, note 1.
    let last_of_oid = match scheme {
        SignatureScheme::RsaPkcs1Sha256 => 1,
        SignatureScheme::RsaPkcs1Sha384 => 2,
        SignatureScheme::RsaPkcs1Sha512 => 3,
        other => return Err(SigningError::UnsupportedScheme(other)),
    };
    let digest = digest(scheme, message)?;
    let length = digest.len() as u8;
    let head = [0x30, 0x11 + length, 0x30, 0x0d, 0x06, 0x09];
    let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last_of_oid];
    Ok([&head[..], &oid, &[0x05, 0x00, 0x04, length], &digest].concat())
}

fn algorithm(scheme: SignatureScheme) -> Result<&'static Algorithm, SigningError> {
    use SignatureScheme as Scheme;
    Ok(match scheme {
        Scheme::RsaPssSha256 | Scheme::RsaPkcs1Sha256 | Scheme::EcdsaP256Sha256 => &digest::SHA256,
        Scheme::RsaPssSha384 | Scheme::RsaPkcs1Sha384 | Scheme::EcdsaP384Sha384 => &digest::SHA384,
        Scheme::RsaPssSha512 | Scheme::RsaPkcs1Sha512 => &digest::SHA512,
        other => return Err(SigningError::UnsupportedScheme(other)),
    })
}

fn invalid_public_key() -> Error {
    Error::new(ErrorKind::Environment, "key_not_supported", "the device returned an invalid public key")
        .with_advice("use an RSA key or a key on P-256")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair,
        UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn public_keys_match_aws_lc() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // RFC 8017 §A.1.1: two headers, a zero, the modulus, a header, the exponent.
        let parts = rsa.public_key().as_ref();
        let written = rsa_public_key(&parts[9..265], &parts[267..]).unwrap();
        assert_eq!(&*written, rsa.public_key().as_der().unwrap().as_ref());
        // Some devices add a leading zero.
        assert_eq!(rsa_public_key(&parts[8..265], &[0, 1, 0, 1]).unwrap(), written);

        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let written = p256_public_key(ecdsa.public_key().as_ref());
        assert_eq!(&*written.unwrap(), ecdsa.public_key().as_der().unwrap().as_ref());
    }

    #[test]
    fn invalid_public_keys_are_refused() {
        for (modulus, exponent) in [(&[][..], &[3][..]), (&[0xc5], &[])] {
            assert_eq!(rsa_public_key(modulus, exponent).unwrap_err().code(), "key_not_supported");
        }
        // Not on the curve; too short; the point at infinity.
        for point in [&[4; 65][..], &[4; 64], &[0]] {
            assert_eq!(p256_public_key(point).unwrap_err().code(), "key_not_supported");
        }
    }

    #[test]
    fn ecdsa_signatures_are_encoded_in_der() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key());
        // Often enough for numbers with leading zeros, and for those with the highest bit set.
        for _ in 0..300 {
            let numbers = key.sign(&SystemRandom::new(), b"message").unwrap();
            let der = ecdsa_signature(numbers.as_ref()).unwrap();
            assert!(public.verify(b"message", &der).is_ok());
        }
        for numbers in [&[0; 64][..], &[0xff; 64], &[1; 63], &[]] {
            assert!(matches!(ecdsa_signature(numbers), Err(SigningError::Failed(_))));
        }
    }

    #[test]
    fn pss_has_no_digest_info() {
        let refused = digest_info(SignatureScheme::RsaPssSha256, b"");
        assert!(matches!(refused, Err(SigningError::UnsupportedScheme(SignatureScheme::RsaPssSha256))));
    }
}
