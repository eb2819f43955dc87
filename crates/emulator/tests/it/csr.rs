//! Valid and invalid certificate requests (docs/protocol/imdsv2.md#certificate-request).

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64ct::{Base64, Encoding};

pub(crate) const RSA_SPKI_ALGORITHM: &str = "300d06092a864886f70d0101010500";
pub(crate) const P256_SPKI_ALGORITHM: &str = "301306072a8648ce3d020106082a8648ce3d030107";
/// The AlgorithmIdentifier of valid requests (docs/protocol/imdsv2.md#signature-algorithm).
pub(crate) const PSS: &str = "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020120";
pub(crate) const PSS_WITH_NULLS: &str = "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120";
pub(crate) const PSS_SALT_20: &str = "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020114";
pub(crate) const RSA_PKCS1: &str = "300d06092a864886f70d01010b0500";
pub(crate) const ECDSA: &str = "300a06082a8648ce3d040302";
const CUID_OID: &str = "060a2b0601040182375a020a";
const DC_OID: &str = "060a0992268993f22c640119";
const CN_OID: &str = "0603550403";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut encoded = vec![tag];
    match content.len() {
        short @ 0..128 => encoded.push(short as u8),
        long @ 128..256 => encoded.extend([0x81, long as u8]),
        longer => encoded.extend([0x82, (longer >> 8) as u8, longer as u8]),
    }
    encoded.extend(content);
    encoded
}

pub(crate) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.as_der().unwrap().as_ref().to_vec(),
            Self::P256(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        let (algorithm, public) = match self {
            Self::Rsa(key) => (RSA_SPKI_ALGORITHM, key.public_key().as_ref()),
            Self::P256(key) => (P256_SPKI_ALGORITHM, key.public_key().as_ref()),
        };
        tlv(0x30, &[&hex(algorithm), &tlv(3, &[&[0], public])])
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key) => sign_rsa(key, &RSA_PSS_SHA256, message),
            Self::P256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
        }
    }
}

fn sign_rsa(
    key: &RsaKeyPair,
    encoding: &'static dyn aws_lc_rs::signature::RsaEncoding,
    message: &[u8],
) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// The parts of a request, valid until a test changes one.
pub(crate) struct Csr<'a> {
    pub(crate) key: &'a Key,
    pub(crate) version: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) attributes: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) pkcs1: bool,
    pub(crate) corrupt_signature: bool,
    pub(crate) after_signature: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl<'a> Csr<'a> {
    pub(crate) fn new(key: &'a Key, tenant_id: &str, client_id: &str, cuid: &str) -> Self {
        Self {
            key,
            version: vec![0],
            subject: tlv(0x30, &[&domain_component(0x16, tenant_id), &common_name(0x13, client_id)]),
            spki: key.spki(),
            attributes: tlv(0xa0, &[&attribute(&[cuid])]),
            algorithm: hex(match key {
                Key::Rsa(_) => PSS,
                Key::P256(_) => ECDSA,
            }),
            pkcs1: false,
            corrupt_signature: false,
            after_signature: Vec::new(),
            after: Vec::new(),
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let info = tlv(0x30, &[&tlv(2, &[&self.version]), &self.subject, &self.spki, &self.attributes]);
        let mut signature = match self.key {
            Key::Rsa(key) if self.pkcs1 => sign_rsa(key, &RSA_PKCS1_SHA256, &info),
            key => key.sign(&info),
        };
        if self.corrupt_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let request =
            tlv(0x30, &[&info, &self.algorithm, &tlv(3, &[&[0], &signature]), &self.after_signature]);
        [request, self.after.clone()].concat()
    }

    pub(crate) fn base64(&self) -> String {
        Base64::encode_string(&self.der())
    }
}

pub(crate) fn domain_component(tag: u8, value: &str) -> Vec<u8> {
    rdn(DC_OID, tag, value)
}

pub(crate) fn common_name(tag: u8, value: &str) -> Vec<u8> {
    rdn(CN_OID, tag, value)
}

fn rdn(oid: &str, tag: u8, value: &str) -> Vec<u8> {
    tlv(0x31, &[&tlv(0x30, &[&hex(oid), &tlv(tag, &[value.as_bytes()])])])
}

pub(crate) fn attribute(values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| tlv(0x0c, &[value.as_bytes()])).collect();
    tlv(0x30, &[&hex(CUID_OID), &tlv(0x31, &[&values.concat()])])
}
