//! The rules of a certificate request (RFC 2986; docs/protocol/imdsv2.md#certificate-request).
//!
//! All parts but the key and the signature are known in advance and are compared octet by octet
//! with the expected encoding. That is stricter than any PKCS#10 parser.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64ct::{Base64, Encoding};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use crate::pki::der::{
    BIT_STRING, CONTEXT_0, DerElement, DerReader, IA5_STRING, INTEGER, PRINTABLE_STRING, SEQUENCE, SET,
    UTF8_STRING, encode,
};
use crate::pki::subject_key::{SubjectKey, SubjectKeyAlgorithm};

/// domainComponent 0.9.2342.19200300.100.1.25 (RFC 4519 §2.4).
const DOMAIN_COMPONENT: &[u8] = &[0x06, 0x0a, 0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19];
/// commonName 2.5.4.3 (RFC 4519 §2.3).
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
/// The compute unit, 1.3.6.1.4.1.311.90.2.10 (docs/protocol/imdsv2.md#compute-unit-attribute).
const CUID: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x5a, 0x02, 0x0a];
/// rsaEncryption with NULL parameters (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// id-ecPublicKey with prime256v1 (RFC 5480 §2.1.1).
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32, without NULLs
/// (docs/protocol/imdsv2.md#signature-algorithm).
const RSASSA_PSS_SHA256: &[u8] = &[
    0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30, 0xa0, 0x0d,
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa1, 0x1a, 0x30, 0x18,
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86,
    0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa2, 0x03, 0x02, 0x01, 0x20,
];
/// ecdsa-with-SHA256, parameters absent (RFC 5758 §3.2).
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// The smallest RSA modulus (docs/protocol/imdsv2.md#key-strength).
const MINIMUM_RSA_BITS: usize = 2048;

/// The values that the metadata service gave to the client, and expects in its request.
pub(crate) struct ExpectedCsr<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) compute_unit_json: &'a str,
}

/// The rule that a certificate request violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CsrViolation {
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

impl CsrViolation {
    /// Returns the name of the rule and its explanation.
    pub(crate) fn rule(self) -> (&'static str, &'static str) {
        match self {
            Self::Base64 => ("csr_base64", "csr must be one line of standard base64 with padding"),
            Self::TrailingData => ("csr_trailing_data", "octets follow the DER of the certificate request"),
            Self::Structure => ("csr_structure", "csr must be a PKCS#10 certificate request in DER"),
            Self::Version => ("csr_version", "the version of a certificate request must be 0"),
            Self::Subject => (
                "csr_subject",
                "the subject must be DC=tenant id (IA5String), then CN=client id (PrintableString)",
            ),
            Self::PublicKey => ("csr_public_key", "the key must be RSA with at least 2048 bits, or P-256"),
            Self::AttributeCount => ("csr_attribute_count", "the request must carry exactly one attribute"),
            Self::ComputeUnit => (
                "csr_compute_unit",
                "the attribute must be 1.3.6.1.4.1.311.90.2.10 with the compact JSON of cuId as one UTF8String",
            ),
            Self::SignatureAlgorithm => (
                "csr_signature_algorithm",
                "the algorithm must be RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32 and no NULLs, or ecdsa-with-SHA256",
            ),
            Self::Signature => ("csr_signature", "the signature does not verify with the key of the request"),
        }
    }
}

/// Decodes the `csr` member of an issuance request.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, CsrViolation> {
    Base64::decode_vec(text).map_err(|_| CsrViolation::Base64)
}

/// Checks a request by every rule, and returns its key.
pub(crate) fn check(der: &[u8], expected: &ExpectedCsr<'_>) -> Result<SubjectKey, CsrViolation> {
    let mut outer = DerReader::new(der);
    let request = outer.expect(SEQUENCE).ok_or(CsrViolation::Structure)?;
    if !outer.is_empty() {
        return Err(CsrViolation::TrailingData);
    }
    let mut request = DerReader::new(request.content);
    let info = request.expect(SEQUENCE).ok_or(CsrViolation::Structure)?;
    let algorithm = request.expect(SEQUENCE).ok_or(CsrViolation::Structure)?;
    let signature = request.expect(BIT_STRING).and_then(octets).ok_or(CsrViolation::Structure)?;
    if !request.is_empty() {
        return Err(CsrViolation::TrailingData);
    }

    let mut fields = DerReader::new(info.content);
    let version = fields.expect(INTEGER).ok_or(CsrViolation::Structure)?;
    let subject = fields.expect(SEQUENCE).ok_or(CsrViolation::Structure)?;
    let key = fields.expect(SEQUENCE).ok_or(CsrViolation::Structure)?;
    let attributes = fields.expect(CONTEXT_0).ok_or(CsrViolation::AttributeCount)?;

    if version.content != [0] {
        return Err(CsrViolation::Version);
    }
    if subject.raw != encode_subject(expected.tenant_id, expected.client_id) {
        return Err(CsrViolation::Subject);
    }
    let key = subject_key(key)?;
    let mut attributes = DerReader::new(attributes.content);
    let attribute = attributes.expect(SEQUENCE).ok_or(CsrViolation::AttributeCount)?;
    if !attributes.is_empty() || !fields.is_empty() {
        return Err(CsrViolation::AttributeCount);
    }
    if attribute.raw != encode_compute_unit(expected.compute_unit_json) {
        return Err(CsrViolation::ComputeUnit);
    }
    verify(&key, algorithm, info, signature)?;
    Ok(key)
}

fn encode_subject(tenant_id: &str, client_id: &str) -> Vec<u8> {
    let rdn = |kind: &[u8], tag, value: &str| {
        encode(SET, &[&encode(SEQUENCE, &[kind, &encode(tag, &[value.as_bytes()])])])
    };
    encode(
        SEQUENCE,
        &[&rdn(DOMAIN_COMPONENT, IA5_STRING, tenant_id), &rdn(COMMON_NAME, PRINTABLE_STRING, client_id)],
    )
}

fn encode_compute_unit(json: &str) -> Vec<u8> {
    encode(SEQUENCE, &[CUID, &encode(SET, &[&encode(UTF8_STRING, &[json.as_bytes()])])])
}

/// Parses a SubjectPublicKeyInfo in DER.
pub(crate) fn parse_subject_key(spki: &[u8]) -> Result<SubjectKey, CsrViolation> {
    let mut reader = DerReader::new(spki);
    let spki = reader.expect(SEQUENCE).ok_or(CsrViolation::PublicKey)?;
    if reader.is_empty() { subject_key(spki) } else { Err(CsrViolation::PublicKey) }
}

fn subject_key(spki: DerElement<'_>) -> Result<SubjectKey, CsrViolation> {
    let mut fields = DerReader::new(spki.content);
    let algorithm = fields.expect(SEQUENCE).ok_or(CsrViolation::PublicKey)?;
    let key = fields.expect(BIT_STRING).and_then(octets).ok_or(CsrViolation::PublicKey)?;
    let algorithm = if algorithm.raw == RSA_ENCRYPTION {
        let (rest, rsa) = RSAPublicKey::from_der(key).map_err(|_| CsrViolation::PublicKey)?;
        let significant = rsa.modulus.iter().skip_while(|octet| **octet == 0).count();
        let leading =
            rsa.modulus.iter().find(|octet| **octet != 0).map_or(8, |octet| octet.leading_zeros() as usize);
        if !rest.is_empty() || significant * 8 < MINIMUM_RSA_BITS + leading {
            return Err(CsrViolation::PublicKey);
        }
        SubjectKeyAlgorithm::Rsa
    } else if algorithm.raw == EC_P256 {
        SubjectKeyAlgorithm::P256
    } else {
        return Err(CsrViolation::PublicKey);
    };
    if !fields.is_empty() {
        return Err(CsrViolation::PublicKey);
    }
    Ok(SubjectKey { algorithm, octets: key.to_vec() })
}

fn verify(
    key: &SubjectKey,
    algorithm: DerElement<'_>,
    info: DerElement<'_>,
    signature: &[u8],
) -> Result<(), CsrViolation> {
    let (identifier, verification): (&[u8], &'static dyn VerificationAlgorithm) = match key.algorithm {
        SubjectKeyAlgorithm::Rsa => (RSASSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        SubjectKeyAlgorithm::P256 => (ECDSA_SHA256, &ECDSA_P256_SHA256_ASN1),
    };
    if algorithm.raw != identifier {
        return Err(CsrViolation::SignatureAlgorithm);
    }
    UnparsedPublicKey::new(verification, &key.octets)
        .verify(info.raw, signature)
        .map_err(|_| CsrViolation::Signature)
}

/// Returns the octets of a bit string without unused bits.
fn octets(bits: DerElement<'_>) -> Option<&[u8]> {
    match bits.content.split_first() {
        Some((0, octets)) => Some(octets),
        _ => None,
    }
}
