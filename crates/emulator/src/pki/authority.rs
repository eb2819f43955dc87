//! The certificate authority.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber, date_time_ymd,
};
use symbolon_types::Thumbprint;

use crate::calendar::{generalized_time, since_epoch};
use crate::error::Error;
use crate::pki::csr;
use crate::pki::der::{GENERALIZED_TIME, encode};
use crate::pki::issued_certificate::{CertifiedKey, IssuedCertificate};
use crate::pki::subject_key::{SubjectKey, SubjectKeyAlgorithm};
use crate::random;

/// `token_not_after`, 1.3.6.1.4.1.311.90.2.1 (docs/protocol/imdsv2.md#binding-lifetime).
const TOKEN_NOT_AFTER: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 90, 2, 1];
/// domainComponent (RFC 4519 §2.4).
const DOMAIN_COMPONENT: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 25];
/// Octets of a serial number: 126 random bits (RFC 5280 §4.1.2.2 allows 20 octets).
const SERIAL_OCTETS: usize = 16;
/// The validity of the authority and of the server certificate. Both must be valid on the
/// emulator's clock, which a test sets, and on the client's, which may be another one.
const YEARS: (i32, i32) = (1990, 2099);

/// The time by which the validity begins before the issuance, for clients whose clock is behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// The contents of a client certificate.
pub(crate) struct LeafContents<'a> {
    /// The tenant in the subject; absent from certificates of applications.
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) client_id: &'a str,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) token_not_after: Option<SystemTime>,
}

/// The authority that signs the certificates of servers and clients.
pub(crate) struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
    pem: String,
    issued: Mutex<CertificateRegister>,
}

#[derive(Default)]
struct CertificateRegister {
    in_order: Vec<Arc<IssuedCertificate>>,
    by_thumbprint: HashMap<Thumbprint, Arc<IssuedCertificate>>,
}

impl CertificateAuthority {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut params = params();
        // A unique name distinguishes two emulators in one trust store.
        let name = format!("Symbolon emulator {}", &random::guid()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
        let certificate = params.self_signed(&key).map_err(Error::certificate)?;
        Ok(Self {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            issued: Mutex::default(),
        })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues the server certificate for these names and addresses; returns it with its key in
    /// PKCS#8.
    pub(crate) fn server(&self, names: Vec<String>) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut params = params();
        params.subject_alt_names =
            CertificateParams::new(names).map_err(Error::certificate)?.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::certificate)?;
        Ok((certificate.der().to_vec(), key.serialize_der()))
    }

    /// Issues a certificate for a client's key, with a new serial number at each call.
    pub(crate) fn issue(
        &self,
        key: &SubjectKey,
        leaf: &LeafContents<'_>,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let mut params = params();
        params.not_before = date_time_ymd(1970, 1, 1) + since_epoch(leaf.not_before);
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch(leaf.not_after);
        if let Some(tenant_id) = leaf.tenant_id {
            let tenant_id = Ia5String::try_from(tenant_id).map_err(Error::certificate)?;
            params.distinguished_name.push(DnType::from_oid(DOMAIN_COMPONENT), DnValue::Ia5String(tenant_id));
        }
        let client_id = PrintableString::try_from(leaf.client_id).map_err(Error::certificate)?;
        params.distinguished_name.push(DnType::CommonName, DnValue::PrintableString(client_id));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(until) = leaf.token_not_after {
            let value = encode(GENERALIZED_TIME, &[generalized_time(until).as_bytes()]);
            params.custom_extensions.push(CustomExtension::from_oid_content(TOKEN_NOT_AFTER, value));
        }
        let certificate = params.signed_by(key, &self.issuer).map_err(Error::certificate)?;

        let der = certificate.der().to_vec();
        let whole_second =
            |instant| SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch(instant).as_secs());
        let issued = Arc::new(IssuedCertificate {
            thumbprint: Thumbprint::of(&der),
            client_id: leaf.client_id.to_owned(),
            tenant_id: leaf.tenant_id.map(str::to_owned),
            not_before: whole_second(leaf.not_before),
            not_after: whole_second(leaf.not_after),
            token_not_after: leaf.token_not_after.map(whole_second),
            der,
        });
        let mut register = self.register();
        register.by_thumbprint.insert(issued.thumbprint, Arc::clone(&issued));
        register.in_order.push(Arc::clone(&issued));
        Ok(issued)
    }

    /// Issues a certificate for the key of a SubjectPublicKeyInfo in DER.
    pub(crate) fn issue_for_spki(
        &self,
        spki: &[u8],
        leaf: &LeafContents<'_>,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let key = csr::parse_subject_key(spki)
            .map_err(|violation| Error::certificate(std::io::Error::other(violation.rule().1)))?;
        self.issue(&key, leaf)
    }

    /// Issues a certificate for the key of another certificate.
    pub(crate) fn issue_for_key_of(
        &self,
        other: &IssuedCertificate,
        leaf: &LeafContents<'_>,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&other.der).map_err(Error::certificate)?;
        self.issue_for_spki(parsed.public_key().raw, leaf)
    }

    /// Generates a P-256 key and issues a certificate for it.
    pub(crate) fn issue_with_key(&self, leaf: &LeafContents<'_>) -> Result<CertifiedKey, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
        let subject = SubjectKey { algorithm: SubjectKeyAlgorithm::P256, octets: key.der_bytes().to_vec() };
        Ok(CertifiedKey { certificate: self.issue(&subject, leaf)?, pkcs8: key.serialize_der() })
    }

    /// Returns the client certificates issued so far, oldest first.
    pub(crate) fn issued(&self) -> Vec<Arc<IssuedCertificate>> {
        self.register().in_order.clone()
    }

    /// Returns the issued client certificate with this thumbprint.
    pub(crate) fn find(&self, thumbprint: Thumbprint) -> Option<Arc<IssuedCertificate>> {
        self.register().by_thumbprint.get(&thumbprint).cloned()
    }

    fn register(&self) -> MutexGuard<'_, CertificateRegister> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the parameters that all certificates share.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(YEARS.0, 1, 1);
    params.not_after = date_time_ymd(YEARS.1, 12, 31);
    let mut serial: [u8; SERIAL_OCTETS] = random::bytes();
    // A serial number must be positive and not empty (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}
