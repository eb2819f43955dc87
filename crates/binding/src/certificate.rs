//! Whether an issued certificate may be used. (IMDSv2 §4.3, §13.2.)

use std::fmt;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::{ClientIdentity, Error, ErrorKind, IdentityError, SharedSigningKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::time::Time;

/// When the token service stops accepting the certificate for new tokens, although it is valid
/// longer. (IMDSv2 §4.3: `token_not_after`.)
const TOKEN_NOT_AFTER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.1");
/// Signatures by digests of which collisions can be made: MD5 and SHA-1 with RSA (RFC 8017 §A.2.4),
/// SHA-1 with ECDSA (RFC 3279 §2.2.3).
const BROKEN_SIGNATURES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];
/// How far the issuer's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// A difference to the issuer's `Date`, which counts whole seconds, that is worth telling.
const TELLING_DIFFERENCE: Duration = Duration::from_secs(30);

/// A certificate as it was issued, and what it must be.
pub(crate) struct Issued<'a> {
    /// X.509 in DER in base64.
    pub(crate) base64: &'a str,
    /// The key that it was asked for.
    pub(crate) key: &'a SharedSigningKey,
    /// Whom it must name.
    pub(crate) client_id: &'a str,
    pub(crate) now: SystemTime,
    /// When the issuer says it answered.
    pub(crate) issuer_date: Option<SystemTime>,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    NotBase64,
    NotX509,
    OtherKey,
    OtherIdentity,
    Weak,
    NotYetValid,
    Expired,
}

impl Issued<'_> {
    /// The certificate with its key, usable until the earlier of its two ends.
    pub(crate) fn accept(&self) -> Result<ClientIdentity, Error> {
        self.identity().map_err(|flaw| {
            Error::new(
                ErrorKind::Response,
                "invalid_certificate",
                format!("the instance metadata service issued a certificate that {flaw}"),
            )
            .with_advice(self.advice(flaw))
        })
    }

    pub(crate) fn identity(&self) -> Result<ClientIdentity, Flaw> {
        let der = Base64::decode_vec(self.base64).map_err(|_| Flaw::NotBase64)?;
        let certificate = Certificate::from_der(&der).map_err(|_| Flaw::NotX509)?;
        let identity = ClientIdentity::new(vec![CertificateDer::from(der)], self.key.clone());
        let identity = identity.map_err(|error| match error {
            IdentityError::KeyMismatch => Flaw::OtherKey,
            _ => Flaw::NotX509,
        })?;
        if !names(&certificate, self.client_id) {
            return Err(Flaw::OtherIdentity);
        }
        if BROKEN_SIGNATURES.contains(&certificate.signature_algorithm().oid) {
            return Err(Flaw::Weak);
        }
        let identity = match token_not_after(&certificate) {
            Some(end) => identity.usable_until_at_most(end),
            None => identity,
        };
        if identity.not_before().duration_since(self.now).is_ok_and(|ahead| ahead > SKEW) {
            return Err(Flaw::NotYetValid);
        }
        if self.now >= identity.usable_until() {
            return Err(Flaw::Expired);
        }
        Ok(identity)
    }

    fn advice(&self, flaw: Flaw) -> String {
        if !matches!(flaw, Flaw::NotYetValid | Flaw::Expired) {
            return "quote the correlation id when you report this".into();
        }
        let difference = self.issuer_date.map(|date| match self.now.duration_since(date) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        });
        match difference {
            Some((by, side)) if by > TELLING_DIFFERENCE => {
                let seconds = by.as_secs();
                format!("this machine's clock is {seconds} seconds {side} the issuer's: set it right")
            }
            Some(_) => {
                "this machine's clock agrees with the issuer's: quote the correlation id when you report this"
                    .into()
            }
            None => "check this machine's clock".into(),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBase64 => "is not base64",
            Self::NotX509 => "is not one X.509 certificate in DER",
            Self::OtherKey => "is for another key",
            Self::OtherIdentity => "names another identity",
            Self::Weak => "is signed with a digest that is broken",
            Self::NotYetValid => "is not valid yet",
            Self::Expired => "has expired",
        })
    }
}

/// Whether the one common name of the subject is this client id.
fn names(certificate: &Certificate, client_id: &str) -> bool {
    let subject = certificate.tbs_certificate().subject();
    let mut common_names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (Some(name), None) = (common_names.next(), common_names.next()) else { return false };
    name.value.value().eq_ignore_ascii_case(client_id.as_bytes())
}

/// The second end, if there is one that can be read.
fn token_not_after(certificate: &Certificate) -> Option<SystemTime> {
    let mut extensions = certificate.tbs_certificate().extensions()?.iter();
    let extension = extensions.find(|extension| extension.extn_id == TOKEN_NOT_AFTER)?;
    let end = time_of(extension.extn_value.as_bytes());
    if end.is_none() {
        tracing::warn!("the certificate's token_not_after cannot be read; its notAfter counts instead");
    }
    end
}

/// `UTCTime` or `GeneralizedTime`, alone or in a `SEQUENCE`.
fn time_of(der: &[u8]) -> Option<SystemTime> {
    let outer = AnyRef::from_der(der).ok()?;
    let time = if outer.tag() == Tag::Sequence { Time::from_der(outer.value()) } else { Time::from_der(der) };
    Some(time.ok()?.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_not_after_is_read_in_every_known_form() {
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
            assert_eq!(time_of(der), time, "{der:02x?}");
        }
    }
}
