//! Validation of certificates (docs/protocol/imdsv2.md#checks-on-the-answer).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::{ClientIdentity, ClockReading, Error, ErrorKind, IdentityError, SharedSigningKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::time::Time;

/// Extension with the time after which the token service accepts the certificate for no new tokens,
/// although it is still valid (docs/protocol/imdsv2.md#binding-lifetime).
const TOKEN_NOT_AFTER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.1");
/// Signature algorithms whose digest has known collisions: MD5 and SHA-1 with RSA (RFC 8017
/// §A.2.4), SHA-1 with ECDSA (RFC 3279 §2.2.3).
const BROKEN_SIGNATURES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];
/// Maximum time that the issuer's clock may be ahead of the clock of this machine.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);
/// Certificate as the metadata service issued it, with the values to validate it against.
pub(crate) struct UncheckedCertificate<'a> {
    /// X.509 certificate in DER, in base64.
    pub(crate) base64: &'a str,
    /// Key of the certificate request.
    pub(crate) key: &'a SharedSigningKey,
    /// Expected common name.
    pub(crate) client_id: &'a str,
    pub(crate) now: SystemTime,
}

/// Reason why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateError {
    NotBase64,
    NotX509,
    OtherKey,
    OtherIdentity,
    BrokenDigest,
    NotYetValid,
    Expired,
}

impl UncheckedCertificate<'_> {
    /// Validates the certificate and joins it with its key. The result is usable until the end of
    /// the certificate or its `token_not_after`, whichever is earlier.
    pub(crate) fn validate(&self) -> Result<ClientIdentity, CertificateError> {
        let der = Base64::decode_vec(self.base64).map_err(|_| CertificateError::NotBase64)?;
        let certificate = Certificate::from_der(&der).map_err(|_| CertificateError::NotX509)?;
        let identity = ClientIdentity::new(vec![CertificateDer::from(der)], self.key.clone());
        let identity = identity.map_err(|error| match error {
            IdentityError::KeyMismatch => CertificateError::OtherKey,
            _ => CertificateError::NotX509,
        })?;
        if !has_common_name(&certificate, self.client_id) {
            return Err(CertificateError::OtherIdentity);
        }
        if BROKEN_SIGNATURES.contains(&certificate.signature_algorithm().oid) {
            return Err(CertificateError::BrokenDigest);
        }
        let identity = match token_not_after(&certificate) {
            Some(end) => identity.usable_until_at_most(end),
            None => identity,
        };
        if identity.not_before().duration_since(self.now).is_ok_and(|ahead| ahead > MAX_SKEW) {
            return Err(CertificateError::NotYetValid);
        }
        if self.now >= identity.usable_until() {
            return Err(CertificateError::Expired);
        }
        Ok(identity)
    }
}

impl CertificateError {
    /// Returns the error for callers. Its advice compares the clock of this machine with the `Date`
    /// of the issuer's response if the certificate is outside of its validity period.
    pub(crate) fn into_error(self, now: ClockReading, issuer_date: Option<SystemTime>) -> Error {
        let advice = if matches!(self, Self::NotYetValid | Self::Expired) {
            clock_advice(now, issuer_date)
        } else {
            "quote the correlation id when you report this".into()
        };
        let summary = format!("the instance metadata service issued a certificate that {self}");
        Error::new(ErrorKind::Response, "invalid_certificate", summary).with_advice(advice)
    }
}

fn clock_advice(now: ClockReading, issuer_date: Option<SystemTime>) -> String {
    let Some(date) = issuer_date else { return "check this machine's clock".into() };
    match now.skew(date) {
        Some((difference, is_ahead)) => {
            let (seconds, side) = (difference.as_secs(), if is_ahead { "ahead of" } else { "behind" });
            format!("this machine's clock is {seconds} seconds {side} the issuer's: synchronize it")
        }
        None => {
            "this machine's clock agrees with the issuer's: quote the correlation id when you report this"
                .into()
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBase64 => "is not base64",
            Self::NotX509 => "is not one X.509 certificate in DER",
            Self::OtherKey => "is for another key",
            Self::OtherIdentity => "names another identity",
            Self::BrokenDigest => "is signed with a broken digest (MD5 or SHA-1)",
            Self::NotYetValid => "is not valid yet",
            Self::Expired => "has expired",
        })
    }
}

/// Returns true if the subject has exactly one common name, and it is this client id.
fn has_common_name(certificate: &Certificate, client_id: &str) -> bool {
    let subject = certificate.tbs_certificate().subject();
    let mut common_names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (Some(name), None) = (common_names.next(), common_names.next()) else { return false };
    name.value.value().eq_ignore_ascii_case(client_id.as_bytes())
}

/// Returns the time in the `token_not_after` extension; `None` if it is missing or unreadable.
pub(crate) fn token_not_after(certificate: &Certificate) -> Option<SystemTime> {
    let mut extensions = certificate.tbs_certificate().extensions()?.iter();
    let extension = extensions.find(|extension| extension.extn_id == TOKEN_NOT_AFTER)?;
    let end = read_time(extension.extn_value.as_bytes());
    if end.is_none() {
        tracing::warn!("the certificate's token_not_after cannot be read; its notAfter is used instead");
    }
    end
}

/// Reads a `UTCTime` or `GeneralizedTime`, alone or in a `SEQUENCE`.
fn read_time(der: &[u8]) -> Option<SystemTime> {
    let outer = AnyRef::from_der(der).ok()?;
    let time = if outer.tag() == Tag::Sequence { Time::from_der(outer.value()) } else { Time::from_der(der) };
    Some(time.ok()?.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_not_after_is_read_in_all_forms() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (der, time) in [
            // 2026-11-24 06:00:00 UTC, by `date -u -d … +%s`.
            (&b"\x17\x0d261124060000Z"[..], at(1_795_500_000)),
            (b"\x18\x0f20261124060000Z", at(1_795_500_000)),
            (b"\x30\x0f\x17\x0d261124060000Z", at(1_795_500_000)),
            (b"\x30\x11\x18\x0f20261124060000Z", at(1_795_500_000)),
            (b"\x18\x0f20261324060000Z", None),
            (b"\x30\x13\x30\x11\x18\x0f20261124060000Z", None),
            (b"\x0c\x0f20261124060000Z", None),
            (b"\x17\x0d261124060000Zx", None),
            (b"\x30\x10\x17\x0d261124060000Zx", None),
            (b"\x02\x01\x05", None),
            (b"", None),
        ] {
            assert_eq!(read_time(der), time, "{der:02x?}");
        }
    }
}
