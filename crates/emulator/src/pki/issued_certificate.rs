//! The certificates that the emulator issues.

use std::sync::Arc;
use std::time::SystemTime;

use pem_rfc7468::LineEnding;
use symbolon_types::Thumbprint;

/// A client certificate that the emulator's authority signed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedCertificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// The `x5t#S256` of the certificate.
    pub thumbprint: Thumbprint,
    /// The client id in the subject.
    pub client_id: String,
    /// The tenant in the subject, for certificates that the metadata service issued.
    pub tenant_id: Option<String>,
    /// The first instant of the validity.
    pub not_before: SystemTime,
    /// The last instant of the validity.
    pub not_after: SystemTime,
    /// The instant from which the token service refuses the certificate, if it contains one.
    pub token_not_after: Option<SystemTime>,
}

impl IssuedCertificate {
    /// Returns true if the token service accepts the certificate at this time.
    pub(crate) fn is_usable(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after && self.token_not_after.is_none_or(|until| now < until)
    }
}

// Omits the DER.
symbolon_types::debug_fields!(
    IssuedCertificate:
    thumbprint, client_id, tenant_id, not_before, not_after, token_not_after
);

/// A certificate with its private key.
#[derive(Clone)]
#[non_exhaustive]
pub struct CertifiedKey {
    /// The certificate.
    pub certificate: Arc<IssuedCertificate>,
    /// The private key (P-256), as PKCS#8 in DER.
    pub pkcs8: Vec<u8>,
}

impl CertifiedKey {
    /// The certificate and the private key in PEM (RFC 7468), the certificate first, as `symbolon
    /// app-token --certificate` and most other clients read them.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pem = |label, der| pem_rfc7468::encode_string(label, LineEnding::LF, der);
        // Encoding fails only if the length overflows `usize`.
        let certificate = pem("CERTIFICATE", &self.certificate.der).unwrap_or_default();
        certificate + &pem("PRIVATE KEY", &self.pkcs8).unwrap_or_default()
    }
}

// Omits the private key.
symbolon_types::debug_fields!(CertifiedKey: certificate);
