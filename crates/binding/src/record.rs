//! Descriptions of bindings.

use std::time::SystemTime;

use symbolon_types::pki_types::CertificateDer;
use symbolon_types::{Error, ErrorKind, Thumbprint};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::issuance::token_not_after;

/// `rsaEncryption` (RFC 8017 §A.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey` and `secp256r1` (RFC 5480 §2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Description of a binding: its certificate, and the kind and place of its key.
///
/// It cannot sign, and of a stored binding it is not validated.
#[derive(Clone, Debug)]
pub struct BindingRecord {
    chain: Vec<CertificateDer<'static>>,
    thumbprint: Thumbprint,
    subject: String,
    not_before: SystemTime,
    not_after: SystemTime,
    usable_until: SystemTime,
    client_id: String,
    tenant_id: String,
    key_type: String,
    key_location: Option<String>,
}

impl BindingRecord {
    /// Reads the leaf of a chain.
    pub(crate) fn new(
        chain: &[CertificateDer<'static>],
        client_id: &str,
        tenant_id: &str,
    ) -> Result<Self, Error> {
        let unreadable =
            || Error::new(ErrorKind::Response, "invalid_certificate", "cannot read a certificate");
        let leaf = chain.first().ok_or_else(unreadable)?;
        let certificate = Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let content = certificate.tbs_certificate();
        let not_after = content.validity().not_after.to_system_time();
        Ok(Self {
            thumbprint: Thumbprint::of(leaf),
            subject: content.subject().to_string(),
            not_before: content.validity().not_before.to_system_time(),
            not_after,
            usable_until: token_not_after(&certificate).map_or(not_after, |limit| limit.min(not_after)),
            client_id: client_id.to_owned(),
            tenant_id: tenant_id.to_owned(),
            key_type: key_type(content.subject_public_key_info()),
            key_location: None,
            chain: chain.to_vec(),
        })
    }

    pub(crate) fn with_key_location(mut self, location: Option<&str>) -> Self {
        self.key_location = location.map(str::to_owned);
        self
    }

    /// Returns the certificates in DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Returns the `x5t#S256` of the leaf.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Returns the subject of the leaf as text (RFC 4514).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the beginning of the certificate's validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Returns the end of the certificate's validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Returns the time until which tokens can be requested with the certificate.
    #[must_use]
    pub fn usable_until(&self) -> SystemTime {
        self.usable_until
    }

    /// Returns the client id of the managed identity.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the tenant of the managed identity.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Returns the type of the key: `rsa-` with its number of bits, `p-256`, or an object
    /// identifier.
    #[must_use]
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// Returns the place of the key, if its provider names one; see
    /// [`SigningKey::location`](symbolon_types::SigningKey::location).
    #[must_use]
    pub fn key_location(&self) -> Option<&str> {
        self.key_location.as_deref()
    }
}

fn key_type(info: &SubjectPublicKeyInfoOwned) -> String {
    let algorithm = info.algorithm.oid;
    let curve = || info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok();
    match algorithm {
        RSA => match rsa_bits(info) {
            Some(bits) => format!("rsa-{bits}"),
            None => "rsa".to_owned(),
        },
        EC if curve() == Some(P256) => "p-256".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the length of the modulus, the first integer of `RSAPublicKey` (RFC 8017 §A.1.1).
fn rsa_bits(info: &SubjectPublicKeyInfoOwned) -> Option<usize> {
    let mut reader = SliceReader::new(info.subject_public_key.as_bytes()?).ok()?;
    let modulus = reader.sequence(|content| {
        let modulus = content.decode::<UintRef<'_>>()?;
        content.decode::<UintRef<'_>>()?;
        Ok::<_, x509_cert::der::Error>(modulus)
    });
    let bytes = modulus.ok()?;
    let bytes = bytes.as_bytes();
    Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize)
}
