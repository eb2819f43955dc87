//! Signature algorithm of a certificate request (docs/protocol/imdsv2.md#signature-algorithm).

use symbolon_types::{Error, ErrorKind, SharedSigningKey, SignatureScheme, SigningKey};
use x509_cert::der::asn1::{Any, AnyRef, ContextSpecific, Null, ObjectIdentifier, UintRef};
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ID_EC_PUBLIC_KEY, ID_MGF_1, ID_RSASSA_PSS, ID_SHA_256, RSA_ENCRYPTION, SECP_256_R_1,
};
use x509_cert::der::{self, Decode, Encode, Tag, TagMode, TagNumber};
use x509_cert::spki::{AlgorithmIdentifier, AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

/// Minimum length of an RSA key (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;
/// Salt length: the length of the digest (RFC 8017 §9.1).
const PSS_SALT_LENGTH: u8 = 32;

/// Signature algorithm: RSASSA-PSS or ECDSA on P-256, both with SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CsrAlgorithm {
    RsaPss,
    EcdsaP256,
}

impl CsrAlgorithm {
    /// Returns the algorithm for this key.
    pub(crate) fn of(key: &SharedSigningKey) -> Result<Self, Error> {
        let found =
            SubjectPublicKeyInfoRef::from_der(key.public_key()).ok().and_then(|spki| algorithm_of(&spki));
        found.filter(|algorithm| key.schemes().contains(&algorithm.scheme())).ok_or_else(|| {
            Error::new(
                ErrorKind::Environment,
                "key_not_supported",
                "no certificate can be requested for the key of the key provider",
            )
            .with_advice(
                "use an RSA key of at least 2048 bits that signs with RSASSA-PSS, or an ECDSA key on P-256",
            )
        })
    }

    pub(crate) fn scheme(self) -> SignatureScheme {
        match self {
            Self::RsaPss => SignatureScheme::RsaPssSha256,
            Self::EcdsaP256 => SignatureScheme::EcdsaP256Sha256,
        }
    }

    pub(crate) fn identifier(self) -> der::Result<AlgorithmIdentifierOwned> {
        Ok(match self {
            Self::RsaPss => AlgorithmIdentifier { oid: ID_RSASSA_PSS, parameters: Some(pss_parameters()?) },
            // RFC 5758 §3.2: no parameters.
            Self::EcdsaP256 => AlgorithmIdentifier { oid: ECDSA_WITH_SHA_256, parameters: None },
        })
    }
}

fn algorithm_of(spki: &SubjectPublicKeyInfoRef<'_>) -> Option<CsrAlgorithm> {
    let parameters = spki.algorithm.parameters;
    if spki.algorithm.oid == RSA_ENCRYPTION {
        let bits = modulus_bits(spki.subject_public_key.as_bytes()?).ok()?;
        return (bits >= MIN_RSA_BITS).then_some(CsrAlgorithm::RsaPss);
    }
    let curve = parameters?.decode_as::<ObjectIdentifier>().ok()?;
    (spki.algorithm.oid == ID_EC_PUBLIC_KEY && curve == SECP_256_R_1).then_some(CsrAlgorithm::EcdsaP256)
}

/// Returns the bit length of the modulus of an `RSAPublicKey` (RFC 8017 §A.1.1).
fn modulus_bits(rsa_public_key: &[u8]) -> der::Result<usize> {
    AnyRef::from_der(rsa_public_key)?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?.as_bytes();
        let _exponent = UintRef::decode(reader)?;
        let leading_zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        Ok(modulus.len() * 8 - leading_zeros)
    })
}

/// Returns `RSASSA-PSS-params` (RFC 8017 §A.2.3) whose hash identifiers have no NULL parameters, as
/// .NET encodes them. Verifiers accept both forms (RFC 4055 §2.1).
fn pss_parameters() -> der::Result<Any> {
    fn field<T: Encode>(number: u32, value: T) -> der::Result<Vec<u8>>
    where
        ContextSpecific<T>: Encode,
    {
        ContextSpecific { tag_number: TagNumber(number), tag_mode: TagMode::Explicit, value }.to_der()
    }
    let hash = AlgorithmIdentifier { oid: ID_SHA_256, parameters: None::<Null> };
    let mask = AlgorithmIdentifier { oid: ID_MGF_1, parameters: Some(hash) };
    let fields = [field(0, hash)?, field(1, mask)?, field(2, PSS_SALT_LENGTH)?];
    Any::new(Tag::Sequence, fields.concat())
}

#[cfg(test)]
mod tests {
    use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
    use symbolon_types::{SigningError, Strength};
    use x509_cert::der::asn1::BitString;
    use x509_cert::spki::SubjectPublicKeyInfo;

    use super::*;
    use crate::{KeyProvider, SoftwareKeys};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn pss_identifier_is_encoded_as_documented() {
        // docs/protocol/imdsv2.md#signature-algorithm
        assert_eq!(
            hex(&CsrAlgorithm::RsaPss.identifier().unwrap().to_der().unwrap()),
            "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d0101\
             08300b0609608648016503040201a203020120"
        );
    }

    #[test]
    fn ecdsa_identifier_has_no_parameters() {
        let der = CsrAlgorithm::EcdsaP256.identifier().unwrap().to_der().unwrap();
        assert_eq!(hex(&der), "300a06082a8648ce3d040302");
    }

    #[tokio::test]
    async fn software_keys_are_supported() {
        for (keys, algorithm) in [
            (SoftwareKeys::rsa_2048(), CsrAlgorithm::RsaPss),
            (SoftwareKeys::p256(), CsrAlgorithm::EcdsaP256),
        ] {
            assert_eq!(CsrAlgorithm::of(&keys.key().await.unwrap()).unwrap(), algorithm);
        }
    }

    /// Public key and schemes without a private key.
    #[derive(Debug)]
    struct ClaimedKey(SubjectPublicKeyInfoDer<'static>, &'static [SignatureScheme]);

    impl SigningKey for ClaimedKey {
        fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
            &self.0
        }
        fn schemes(&self) -> &[SignatureScheme] {
            self.1
        }
        fn sign(&self, scheme: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SigningError> {
            Err(SigningError::UnsupportedScheme(scheme))
        }
        fn strength(&self) -> Strength {
            Strength::Software
        }
    }

    fn rsa_of(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        let fields = [
            UintRef::new(&modulus).unwrap().to_der().unwrap(),
            UintRef::new(&[1, 0, 1]).unwrap().to_der().unwrap(),
        ];
        let key = Any::new(Tag::Sequence, fields.concat()).unwrap().to_der().unwrap();
        let algorithm = AlgorithmIdentifier { oid: RSA_ENCRYPTION, parameters: Some(Null) };
        let subject_public_key = BitString::from_bytes(&key).unwrap();
        SubjectPublicKeyInfo { algorithm, subject_public_key }.to_der().unwrap()
    }

    #[test]
    fn unsupported_keys_are_refused() {
        const PSS: &[SignatureScheme] = &[SignatureScheme::RsaPssSha256];
        const PKCS1: &[SignatureScheme] = &[SignatureScheme::RsaPkcs1Sha256];
        for (spki, schemes, supported) in [
            (rsa_of(2048), PSS, true),
            (rsa_of(3072), PSS, true),
            (rsa_of(2047), PSS, false),
            (rsa_of(1024), PSS, false),
            (rsa_of(2048), PKCS1, false),
            (b"not a key".to_vec(), PSS, false),
        ] {
            let key = SharedSigningKey::new(ClaimedKey(spki.into(), schemes));
            let code = CsrAlgorithm::of(&key).err().map(|error| error.code().to_owned());
            assert_eq!(code.is_none(), supported, "{schemes:?}");
            assert!(code.is_none_or(|code| code == "key_not_supported"));
        }
    }
}
