//! What a certification request has to be (IMDSv2: CSR; RFC 2986), each rule with its name.
//!
//! Every part but the key and the signature is known before, so it is compared octet by octet with
//! what it has to be. That is stricter than any reader of PKCS#10.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64ct::{Base64, Encoding};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use crate::der::{
    BIT_STRING, CONTEXT_0, Element, IA5_STRING, INTEGER, PRINTABLE_STRING, Reader, SEQUENCE, SET,
    UTF8_STRING, element,
};
use crate::subject_key::{Algorithm, SubjectKey};

/// domainComponent 0.9.2342.19200300.100.1.25 (RFC 4519 §2.4).
const DOMAIN_COMPONENT: &[u8] = &[0x06, 0x0a, 0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19];
/// commonName 2.5.4.3 (RFC 4519 §2.3).
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
/// The compute unit's id, 1.3.6.1.4.1.311.90.2.10 (IMDSv2: CUID attribute).
const CUID: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x5a, 0x02, 0x0a];
/// rsaEncryption with NULL parameters (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// id-ecPublicKey with prime256v1 (RFC 5480 §2.1.1).
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32, without NULLs (IMDSv2: signature AlgorithmIdentifier).
const RSASSA_PSS_SHA256: &[u8] = &[
    0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30, 0xa0, 0x0d,
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa1, 0x1a, 0x30, 0x18,
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86,
    0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa2, 0x03, 0x02, 0x01, 0x20,
];
/// ecdsa-with-SHA256, parameters absent (RFC 5758 §3.2).
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// The smallest RSA modulus (IMDSv2: RSA 2048).
const MINIMUM_RSA_BITS: usize = 2048;

/// What the metadata service told this client, and so expects back.
pub(crate) struct Expected<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) compute_unit_json: &'a str,
}

/// The rule that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    Base64,
    TrailingData,
    Structure,
    Version,
    Subject,
    PublicKey,
    AttributeCount,
    ComputeUnit,
    SignatureAlgorithm,
    Signature,
}

impl Violation {
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Base64 => "csr_base64",
            Self::TrailingData => "csr_trailing_data",
            Self::Structure => "csr_structure",
            Self::Version => "csr_version",
            Self::Subject => "csr_subject",
            Self::PublicKey => "csr_public_key",
            Self::AttributeCount => "csr_attribute_count",
            Self::ComputeUnit => "csr_compute_unit",
            Self::SignatureAlgorithm => "csr_signature_algorithm",
            Self::Signature => "csr_signature",
        }
    }

    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::Base64 => "csr is one line of standard base64 with padding",
            Self::TrailingData => "nothing follows the DER of the certification request",
            Self::Structure => "csr is a PKCS#10 certification request in DER",
            Self::Version => "the version of a certification request is 0",
            Self::Subject => "the subject is DC=tenant id (IA5String), then CN=client id (PrintableString)",
            Self::PublicKey => "the key is RSA of at least 2048 bits, or on P-256",
            Self::AttributeCount => "the request carries exactly one attribute",
            Self::ComputeUnit => {
                "the attribute is 1.3.6.1.4.1.311.90.2.10 with the compact JSON of cuId as one UTF8String"
            }
            Self::SignatureAlgorithm => {
                "the algorithm is RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32 and no NULLs, or ecdsa-with-SHA256"
            }
            Self::Signature => "the signature was made with the key of the request",
        }
    }
}

/// The DER in the `csr` member of an issuance request.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Violation> {
    Base64::decode_vec(text).map_err(|_| Violation::Base64)
}

/// The key to certify, when every rule holds.
pub(crate) fn check(der: &[u8], expected: &Expected<'_>) -> Result<SubjectKey, Violation> {
    let mut outer = Reader::new(der);
    let request = outer.expect(SEQUENCE).ok_or(Violation::Structure)?;
    if !outer.is_empty() {
        return Err(Violation::TrailingData);
    }
    let mut request = Reader::new(request.content);
    let info = request.expect(SEQUENCE).ok_or(Violation::Structure)?;
    let algorithm = request.expect(SEQUENCE).ok_or(Violation::Structure)?;
    let signature = request.expect(BIT_STRING).and_then(octets).ok_or(Violation::Structure)?;
    if !request.is_empty() {
        return Err(Violation::TrailingData);
    }

    let mut fields = Reader::new(info.content);
    let version = fields.expect(INTEGER).ok_or(Violation::Structure)?;
    let subject = fields.expect(SEQUENCE).ok_or(Violation::Structure)?;
    let key = fields.expect(SEQUENCE).ok_or(Violation::Structure)?;
    let attributes = fields.expect(CONTEXT_0).ok_or(Violation::AttributeCount)?;

    if version.content != [0] {
        return Err(Violation::Version);
    }
    if subject.raw != subject_of(expected.tenant_id, expected.client_id) {
        return Err(Violation::Subject);
    }
    let key = subject_key(key)?;
    let mut attributes = Reader::new(attributes.content);
    let attribute = attributes.expect(SEQUENCE).ok_or(Violation::AttributeCount)?;
    if !attributes.is_empty() || !fields.is_empty() {
        return Err(Violation::AttributeCount);
    }
    if attribute.raw != compute_unit_of(expected.compute_unit_json) {
        return Err(Violation::ComputeUnit);
    }
    verify(&key, algorithm, info, signature)?;
    Ok(key)
}

fn subject_of(tenant_id: &str, client_id: &str) -> Vec<u8> {
    let rdn = |kind: &[u8], tag, value: &str| {
        element(SET, &[&element(SEQUENCE, &[kind, &element(tag, &[value.as_bytes()])])])
    };
    element(
        SEQUENCE,
        &[&rdn(DOMAIN_COMPONENT, IA5_STRING, tenant_id), &rdn(COMMON_NAME, PRINTABLE_STRING, client_id)],
    )
}

fn compute_unit_of(json: &str) -> Vec<u8> {
    element(SEQUENCE, &[CUID, &element(SET, &[&element(UTF8_STRING, &[json.as_bytes()])])])
}

/// The key of a SubjectPublicKeyInfo in DER.
pub(crate) fn subject_key_of(spki: &[u8]) -> Result<SubjectKey, Violation> {
    let mut reader = Reader::new(spki);
    let spki = reader.expect(SEQUENCE).ok_or(Violation::PublicKey)?;
    if reader.is_empty() { subject_key(spki) } else { Err(Violation::PublicKey) }
}

fn subject_key(spki: Element<'_>) -> Result<SubjectKey, Violation> {
    let mut fields = Reader::new(spki.content);
    let algorithm = fields.expect(SEQUENCE).ok_or(Violation::PublicKey)?;
    let key = fields.expect(BIT_STRING).and_then(octets).ok_or(Violation::PublicKey)?;
    let algorithm = if algorithm.raw == RSA_ENCRYPTION {
        let (rest, rsa) = RSAPublicKey::from_der(key).map_err(|_| Violation::PublicKey)?;
        let significant = rsa.modulus.iter().skip_while(|octet| **octet == 0).count();
        let leading =
            rsa.modulus.iter().find(|octet| **octet != 0).map_or(8, |octet| octet.leading_zeros() as usize);
        if !rest.is_empty() || significant * 8 < MINIMUM_RSA_BITS + leading {
            return Err(Violation::PublicKey);
        }
        Algorithm::Rsa
    } else if algorithm.raw == EC_P256 {
        Algorithm::P256
    } else {
        return Err(Violation::PublicKey);
    };
    if !fields.is_empty() {
        return Err(Violation::PublicKey);
    }
    Ok(SubjectKey { algorithm, octets: key.to_vec() })
}

fn verify(
    key: &SubjectKey,
    algorithm: Element<'_>,
    info: Element<'_>,
    signature: &[u8],
) -> Result<(), Violation> {
    let (identifier, verification): (&[u8], &'static dyn VerificationAlgorithm) = match key.algorithm {
        Algorithm::Rsa => (RSASSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        Algorithm::P256 => (ECDSA_SHA256, &ECDSA_P256_SHA256_ASN1),
    };
    if algorithm.raw != identifier {
        return Err(Violation::SignatureAlgorithm);
    }
    UnparsedPublicKey::new(verification, &key.octets)
        .verify(info.raw, signature)
        .map_err(|_| Violation::Signature)
}

/// The octets of a bit string without unused bits.
fn octets(bits: Element<'_>) -> Option<&[u8]> {
    match bits.content.split_first() {
        Some((0, octets)) => Some(octets),
        _ => None,
    }
}
