//! Messages of the credential issuance (docs/protocol/imdsv2.md#credential-issuance).

use serde::{Deserialize, Serialize};
use symbolon_transport::Response;
use symbolon_types::{Error, Secret};
use zeroize::Zeroizing;

use super::csr::Csr;
use super::platform_metadata::PlatformMetadata;
use crate::imds::invalid_response;

/// Credential, as `issuecredential` returns it. `identity_type` is required and not used.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct IssuedCredential {
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    /// X.509 certificate in DER, in base64.
    pub(crate) certificate: String,
    pub(crate) mtls_authentication_endpoint: String,
}

#[derive(Serialize)]
struct IssuanceRequestBody<'a> {
    csr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct IssuanceResponseBody {
    client_id: Option<String>,
    tenant_id: Option<String>,
    certificate: Option<String>,
    identity_type: Option<String>,
    mtls_authentication_endpoint: Option<String>,
}

/// Returns the JSON body of the request.
pub(crate) fn request_body(csr: &Csr, attestation_token: Option<&Secret>) -> Result<bytes::Bytes, Error> {
    let csr = csr.to_base64();
    let attestation_token = attestation_token.map(Secret::expose);
    let json = serde_json::to_vec(&IssuanceRequestBody { csr: &csr, attestation_token })
        .map_err(|_| invalid_response("cannot be sent a certificate request"))?;
    Ok(bytes::Bytes::from_owner(Zeroizing::new(json)))
}

impl IssuedCredential {
    /// Reads a response of status 200.
    pub(crate) fn read(response: &Response) -> Result<Self, Error> {
        // Without the source: the parser's error may quote the response.
        let body: IssuanceResponseBody = serde_json::from_slice(response.body())
            .map_err(|_| invalid_response("sent a credential that is not the expected JSON"))?;
        let required = |member: Option<String>, name| {
            let missing = || invalid_response(format_args!("sent a credential without {name}"));
            member.filter(|text| !text.trim().is_empty()).ok_or_else(missing)
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

    /// Checks that the credential is for the identity of the platform metadata.
    pub(crate) fn check_subject(&self, metadata: &PlatformMetadata) -> Result<(), Error> {
        // GUIDs are case-insensitive.
        if !self.client_id.eq_ignore_ascii_case(&metadata.client_id) {
            return Err(invalid_response(
                "issued a credential for another client id than in its platform metadata",
            ));
        }
        if !self.tenant_id.eq_ignore_ascii_case(&metadata.tenant_id) {
            return Err(invalid_response(
                "issued a credential for another tenant than in its platform metadata",
            ));
        }
        Ok(())
    }
}
