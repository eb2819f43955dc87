//! The certificate authority: who issues, and what it has issued.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pem_rfc7468::LineEnding;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber, date_time_ymd,
};
use symbolon_types::Thumbprint;

use crate::calendar::{generalized_time, since_epoch};
use crate::csr;
use crate::der::{GENERALIZED_TIME, element};
use crate::error::Error;
use crate::random;
use crate::subject_key::{Algorithm, SubjectKey};

/// `token_not_after`, 1.3.6.1.4.1.311.90.2.1 (IMDSv2: second expiry inside the certificate).
const TOKEN_NOT_AFTER: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 90, 2, 1];
/// domainComponent (RFC 4519 §2.4).
const DOMAIN_COMPONENT: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 25];
/// Octets of a serial number: 126 random bits (RFC 5280 §4.1.2.2 allows 20 octets).
const SERIAL_OCTETS: usize = 16;
/// First and last year of the authority and of the servers' certificate: both must be valid on the
/// emulator's clock, which a test sets, and on the client's, which it may not.
const YEARS: (i32, i32) = (1990, 2099);

/// How long before its issuance a certificate is valid, for clients whose clock is late.
pub(crate) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// What a client certificate says.
pub(crate) struct Leaf<'a> {
    /// The tenant in the subject; none for a certificate that an application brings along.
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) client_id: &'a str,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) token_not_after: Option<SystemTime>,
}

/// A client certificate that the emulator's authority signed.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    der: Vec<u8>,
    thumbprint: Thumbprint,
    client_id: String,
    tenant_id: Option<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    token_not_after: Option<SystemTime>,
}

impl IssuedCertificate {
    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its `x5t#S256`.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The client id in its subject.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The tenant in its subject, for certificates that the metadata service issued.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_deref()
    }

    /// The first instant at which it is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The instant after which it is not valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The instant from which the token service refuses it, where the certificate names one.
    #[must_use]
    pub fn token_not_after(&self) -> Option<SystemTime> {
        self.token_not_after
    }

    /// Whether the token service and the resource take it at this time.
    pub(crate) fn is_usable(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after && self.token_not_after.is_none_or(|until| now < until)
    }
}

/// Without the DER, which is long and says nothing to a reader.
impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("thumbprint", &self.thumbprint)
            .field("client_id", &self.client_id)
            .field("tenant_id", &self.tenant_id)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .field("token_not_after", &self.token_not_after)
            .finish()
    }
}

/// A certificate with the key it is for.
#[derive(Clone)]
pub struct CertifiedKey {
    certificate: Arc<IssuedCertificate>,
    pkcs8: Vec<u8>,
}

impl CertifiedKey {
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &IssuedCertificate {
        &self.certificate
    }

    /// The private key (P-256), as PKCS#8 in DER.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Both in PEM (RFC 7468), the certificate first: a file for `symbolon app-token --certificate`, and for most other
    /// clients.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pem = |label, der| pem_rfc7468::encode_string(label, LineEnding::LF, der);
        // It refuses only what is longer than memory.
        let certificate = pem("CERTIFICATE", self.certificate.der()).unwrap_or_default();
        certificate + &pem("PRIVATE KEY", &self.pkcs8).unwrap_or_default()
    }
}

/// Without the key.
impl fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedKey").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The authority that signs the servers' and the clients' certificates.
pub(crate) struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
    pem: String,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    in_order: Vec<Arc<IssuedCertificate>>,
    by_thumbprint: HashMap<Thumbprint, Arc<IssuedCertificate>>,
}

impl CertificateAuthority {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut params = params(YEARS);
        // A name of its own, so that two emulators in one trust store are never mistaken.
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

    /// The servers' certificate and key (PKCS#8), for these names and addresses.
    pub(crate) fn server(&self, names: Vec<String>) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut params = params(YEARS);
        params.subject_alt_names =
            CertificateParams::new(names).map_err(Error::certificate)?.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::certificate)?;
        Ok((certificate.der().to_vec(), key.serialize_der()))
    }

    /// Certifies a client's key. Each certificate is a new one, with a serial number of its own.
    pub(crate) fn issue(&self, key: &SubjectKey, leaf: &Leaf<'_>) -> Result<Arc<IssuedCertificate>, Error> {
        let mut params = params(YEARS);
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
            let value = element(GENERALIZED_TIME, &[generalized_time(until).as_bytes()]);
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

    /// As [`Self::issue`], for the key of a SubjectPublicKeyInfo in DER.
    pub(crate) fn issue_for_spki(
        &self,
        spki: &[u8],
        leaf: &Leaf<'_>,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let key = csr::subject_key_of(spki)
            .map_err(|violation| Error::certificate(std::io::Error::other(violation.explanation())))?;
        self.issue(&key, leaf)
    }

    /// As [`Self::issue`], for the key that another certificate is for.
    pub(crate) fn issue_for_key_of(
        &self,
        other: &IssuedCertificate,
        leaf: &Leaf<'_>,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&other.der).map_err(Error::certificate)?;
        self.issue_for_spki(parsed.public_key().raw, leaf)
    }

    /// Generates a P-256 key and certifies it.
    pub(crate) fn issue_with_key(&self, leaf: &Leaf<'_>) -> Result<CertifiedKey, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::certificate)?;
        let subject = SubjectKey { algorithm: Algorithm::P256, octets: key.der_bytes().to_vec() };
        Ok(CertifiedKey { certificate: self.issue(&subject, leaf)?, pkcs8: key.serialize_der() })
    }

    /// Everything issued, oldest first.
    pub(crate) fn issued(&self) -> Vec<Arc<IssuedCertificate>> {
        self.register().in_order.clone()
    }

    /// What is known of a certificate that a client presented.
    pub(crate) fn find(&self, thumbprint: Thumbprint) -> Option<Arc<IssuedCertificate>> {
        self.register().by_thumbprint.get(&thumbprint).cloned()
    }

    fn register(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all certificates here have in common.
fn params((first_year, last_year): (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(first_year, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    let mut serial: [u8; SERIAL_OCTETS] = random::bytes();
    // A serial number is positive, and its first octet says so (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}
