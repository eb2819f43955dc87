//! Certificate signing request (RFC 2986, docs/protocol/imdsv2.md#certificate-request).

use base64ct::{Base64, Encoding};
use symbolon_types::{Error, ErrorKind, SharedSigningKey, SigningKey};
use x509_cert::attr::{Attribute, AttributeTypeAndValue, Attributes};
use x509_cert::der::asn1::{
    Any, BitString, Ia5StringRef, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef,
};
use x509_cert::der::oid::db::rfc4519::{COMMON_NAME, DOMAIN_COMPONENT};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use zeroize::Zeroizing;

use super::compute_unit::ComputeUnitId;
use crate::csr_algorithm::CsrAlgorithm;
use crate::key_probe::sign_and_verify;

/// Attribute with the compute unit (docs/protocol/imdsv2.md#compute-unit-attribute).
const COMPUTE_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.10");

/// Subject of a certificate request.
pub(crate) struct CsrSubject<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) tenant_id: &'a str,
    pub(crate) compute_unit: &'a ComputeUnitId,
}

/// Signed certificate request in DER. It is overwritten when dropped, and never logged.
pub(crate) struct Csr(Zeroizing<Vec<u8>>);

impl Csr {
    /// Creates a request for this key, signed by it.
    pub(crate) fn new(subject: &CsrSubject<'_>, key: &SharedSigningKey) -> Result<Self, Error> {
        let algorithm = CsrAlgorithm::of(key)?;
        let info = CertReqInfo {
            version: Version::V1,
            subject: distinguished_name(subject).map_err(|_| invalid_subject())?,
            public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key()).map_err(encoding_error)?,
            attributes: attributes(subject.compute_unit).map_err(encoding_error)?,
        };
        let message = Zeroizing::new(info.to_der().map_err(encoding_error)?);
        let signature = sign_and_verify(key, algorithm.scheme(), &message)?;
        let request = CertReq {
            info,
            algorithm: algorithm.identifier().map_err(encoding_error)?,
            signature: BitString::from_bytes(&signature).map_err(encoding_error)?,
        };
        request.to_der().map(|der| Self(Zeroizing::new(der))).map_err(encoding_error)
    }

    /// Returns the request in base64 without line breaks, as the service requires it.
    pub(crate) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(&self.0))
    }
}

symbolon_types::debug_fields!(Csr);

/// Encodes the subject with the domain component first: .NET encodes the text `CN={client id},
/// DC={tenant}` in reverse order (docs/protocol/imdsv2.md#subject). The name is built of values and
/// not of that text, in which a comma would start another component.
fn distinguished_name(subject: &CsrSubject<'_>) -> der::Result<Name> {
    let tenant = Any::encode_from(&Ia5StringRef::new(subject.tenant_id)?)?;
    let client = Any::encode_from(&PrintableStringRef::new(subject.client_id)?)?;
    let mut sequence = RdnSequence::default();
    for (oid, value) in [(DOMAIN_COMPONENT, tenant), (COMMON_NAME, client)] {
        sequence.push(RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }])?);
    }
    Name::from_der(&sequence.to_der()?)
}

fn attributes(compute_unit: &ComputeUnitId) -> der::Result<Attributes> {
    let json = compute_unit.to_json();
    let value = Any::encode_from(&Utf8StringRef::new(&json)?)?;
    let values = SetOfVec::from_iter([value])?;
    SetOfVec::from_iter([Attribute { oid: COMPUTE_UNIT, values }])
}

fn invalid_subject() -> Error {
    Error::new(
        ErrorKind::Response,
        "invalid_response",
        "the instance metadata service named an identity that cannot be encoded in a certificate request",
    )
    .with_advice("its client id or tenant contains characters that a certificate subject does not allow")
}

fn encoding_error(_: der::Error) -> Error {
    Error::new(ErrorKind::Environment, "key_not_supported", "could not encode the certificate request")
        .with_advice("check the public key that the key provider returns")
}

#[cfg(test)]
mod tests {
    use x509_cert::der::asn1::ContextSpecific;
    use x509_cert::der::{TagMode, TagNumber};

    use super::*;
    use crate::{KeyProvider, SoftwareKeys};

    const CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
    const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn subject<'a>(
        client_id: &'a str,
        tenant_id: &'a str,
        compute_unit: &'a ComputeUnitId,
    ) -> CsrSubject<'a> {
        CsrSubject { client_id, tenant_id, compute_unit }
    }

    #[test]
    fn subject_is_encoded_as_documented() {
        let unit = ComputeUnitId::new(Some("vm"), None);
        let name = distinguished_name(&subject(CLIENT, TENANT, &unit)).unwrap();
        // docs/protocol/imdsv2.md#subject
        assert_eq!(
            hex(&name.to_der().unwrap()),
            "306531343032060a0992268993f22c640119162437353161323132622d343030332d343136652d623630302d\
             653166343865343064623966312d302b0603550403132464336164623333662d633064652d656430632d6330\
             64652d646561646233336663306433"
        );
    }

    #[test]
    fn attributes_are_encoded_as_documented() {
        // docs/protocol/imdsv2.md#compute-unit-attribute
        for (vm_id, vmss_id, der) in [
            (
                "fake_vmId",
                None,
                "a0263024060a2b0601040182375a020a31160c147b22766d4964223a2266616b655f766d4964227d",
            ),
            (
                "test-vm-id",
                None,
                "a0273025060a2b0601040182375a020a31170c157b22766d4964223a22746573742d766d2d6964227d",
            ),
            (
                "test-vm-id",
                Some("test-vmss-id"),
                "a03f303d060a2b0601040182375a020a312f0c2d7b22766d4964223a22746573742d766d2d6964222c22\
                 766d73734964223a22746573742d766d73732d6964227d",
            ),
        ] {
            let element = ContextSpecific {
                tag_number: TagNumber(0),
                tag_mode: TagMode::Implicit,
                value: attributes(&ComputeUnitId::new(Some(vm_id), vmss_id)).unwrap(),
            };
            assert_eq!(hex(&element.to_der().unwrap()), der);
        }
    }

    #[tokio::test]
    async fn invalid_subject_is_refused() {
        let key = SoftwareKeys::p256().key().await.unwrap();
        let unit = ComputeUnitId::new(Some("vm"), None);
        for (client_id, tenant_id) in
            [("client_id", TENANT), ("client*", TENANT), ("clïent", TENANT), (CLIENT, "ténant")]
        {
            let error = Csr::new(&subject(client_id, tenant_id, &unit), &key).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "invalid_response"));
            assert!(!format!("{error} {error:?}").contains(client_id), "{error}");
        }
    }

    #[tokio::test]
    async fn comma_is_part_of_the_value() {
        let key = SoftwareKeys::p256().key().await.unwrap();
        let unit = ComputeUnitId::new(Some("vm"), None);
        let csr = Csr::new(&subject("a, CN=b", TENANT, &unit), &key).unwrap();
        let request = CertReq::from_der(&csr.0).unwrap();
        assert_eq!(request.info.subject.len(), 2);
        assert_eq!(format!("{csr:?}"), "Csr { .. }");
    }
}
