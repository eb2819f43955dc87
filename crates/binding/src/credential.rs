//! What the metadata service issues. (IMDSv2 §4.2.)

use serde::{Deserialize, Serialize};
use symbolon_transport::Response;
use symbolon_types::{Error, Secret};
use zeroize::Zeroizing;

use crate::csr::Csr;
use crate::imds::invalid_response;
use crate::platform_metadata::PlatformMetadata;

/// The answer of `issuecredential`; its `identity_type` must be there and is not used.
pub(crate) struct Credential {
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    /// X.509 in DER in base64, as it was sent.
    pub(crate) certificate: String,
    pub(crate) mtls_authentication_endpoint: String,
}

#[derive(Serialize)]
struct RequestBody<'a> {
    csr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct ResponseBody {
    client_id: Option<String>,
    tenant_id: Option<String>,
    certificate: Option<String>,
    identity_type: Option<String>,
    mtls_authentication_endpoint: Option<String>,
}

/// The body that asks for a credential.
pub(crate) fn request_body(csr: &Csr, attestation_token: Option<&Secret>) -> Result<bytes::Bytes, Error> {
    let csr = csr.to_base64();
    let attestation_token = attestation_token.map(Secret::expose);
    let json = serde_json::to_vec(&RequestBody { csr: &csr, attestation_token })
        .map_err(|_| invalid_response("cannot be sent a certificate request"))?;
    Ok(bytes::Bytes::from_owner(Zeroizing::new(json)))
}

impl Credential {
    /// Reads a response of status 200.
    pub(crate) fn read(response: &Response) -> Result<Self, Error> {
        // The parser's own error could quote the answer.
        let body: ResponseBody = serde_json::from_slice(response.body())
            .map_err(|_| invalid_response("sent a credential that is not the expected JSON"))?;
        let required = |member: Option<String>, name| {
            let lacks = || invalid_response(format_args!("sent a credential without {name}"));
            member.filter(|text| !text.trim().is_empty()).ok_or_else(lacks)
        };
        let credential = Self {
            client_id: required(body.client_id, "client_id")?,
            tenant_id: required(body.tenant_id, "tenant_id")?,
            certificate: required(body.certificate, "certificate")?,
            mtls_authentication_endpoint: required(
                body.mtls_authentication_endpoint,
                "mtls_authentication_endpoint",
            )?,
        };
        required(body.identity_type, "identity_type")?;
        Ok(credential)
    }

    /// Holds it against the identity that it was asked for.
    pub(crate) fn is_for(&self, metadata: &PlatformMetadata) -> Result<(), Error> {
        // GUIDs, which compare in any case.
        if !self.client_id.eq_ignore_ascii_case(&metadata.client_id) {
            return Err(invalid_response("issued a credential for another client id than it had named"));
        }
        if !self.tenant_id.eq_ignore_ascii_case(&metadata.tenant_id) {
            return Err(invalid_response("issued a credential for another tenant than it had named"));
        }
        Ok(())
    }
}
