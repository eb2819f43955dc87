//! Platform metadata (docs/protocol/imdsv2.md#platform-metadata).

use serde::Deserialize;
use symbolon_transport::Response;
use symbolon_types::Error;
use url::Url;

use super::compute_unit::ComputeUnitId;
use super::csr::CsrSubject;
use crate::imds::{invalid_response, is_from_imds};

/// Identity and machine, as `getplatformmetadata` returns them.
pub(crate) struct PlatformMetadata {
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    pub(crate) compute_unit: ComputeUnitId,
    /// Used for attested keys only.
    attestation_endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlatformMetadataBody {
    client_id: Option<String>,
    tenant_id: Option<String>,
    cu_id: Option<ComputeUnitId>,
    attestation_endpoint: Option<String>,
}

impl PlatformMetadata {
    /// Reads a response of status 200.
    pub(crate) fn read(response: &Response) -> Result<Self, Error> {
        if !is_from_imds(response) {
            return Err(invalid_response("did not identify itself in its response"));
        }
        // Without the source: the parser's error may quote the response.
        let body: PlatformMetadataBody = serde_json::from_slice(response.body())
            .map_err(|_| invalid_response("sent platform metadata that is not the expected JSON"))?;
        let missing = |member| invalid_response(format_args!("sent platform metadata without {member}"));
        let present = |text: &String| !text.trim().is_empty();
        Ok(Self {
            client_id: body.client_id.filter(present).ok_or_else(|| missing("clientId"))?,
            tenant_id: body.tenant_id.filter(present).ok_or_else(|| missing("tenantId"))?,
            compute_unit: body
                .cu_id
                .filter(ComputeUnitId::is_named)
                .ok_or_else(|| missing("vmId or vmssId in cuId"))?,
            attestation_endpoint: body.attestation_endpoint.filter(present),
        })
    }

    /// Returns the URL of the attestation service, to which the attester adds a path. Its host is
    /// not restricted (docs/protocol/imdsv2.md#attestation).
    pub(crate) fn attestation_endpoint(&self) -> Result<Url, Error> {
        let missing = || invalid_response("sent platform metadata without attestationEndpoint");
        let text = self.attestation_endpoint.as_deref().ok_or_else(missing)?;
        let is_plain = |url: &Url| {
            let has_user = !url.username().is_empty() || url.password().is_some();
            !has_user && url.query().is_none() && url.fragment().is_none()
        };
        let url = text.parse::<Url>().ok().filter(|url| url.scheme() == "https" && url.has_host());
        url.filter(is_plain).ok_or_else(|| {
            invalid_response(
                "named an attestation endpoint that is not an https URL without user information, query and \
                 fragment",
            )
        })
    }

    pub(crate) fn subject(&self) -> CsrSubject<'_> {
        CsrSubject {
            client_id: &self.client_id,
            tenant_id: &self.tenant_id,
            compute_unit: &self.compute_unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::SERVER;
    use http::{HeaderValue, StatusCode};

    use super::*;

    fn read(server: &'static str, body: &str) -> Result<PlatformMetadata, Error> {
        let headers = [(SERVER, HeaderValue::from_static(server))].into_iter().collect();
        PlatformMetadata::read(&Response::new(StatusCode::OK, body.to_owned()).with_headers(headers))
    }

    #[test]
    fn optional_and_unknown_members_are_ignored() {
        for body in [
            r#"{"clientId":"c","tenantId":"t","cuId":{"vmId":"v"}}"#,
            r#"{"clientId":"c","tenantId":"t","cuId":{"vmssId":"v","x":1},"attestationEndpoint":"","new":[]}"#,
            r#"{"clientId":"c","tenantId":"t","cuId":{"vmId":null,"vmssId":"v"},"attestationEndpoint":null}"#,
        ] {
            let metadata = read("IMDS/1", body).unwrap();
            assert_eq!((&*metadata.client_id, &*metadata.tenant_id), ("c", "t"), "{body}");
        }
    }

    #[test]
    fn incomplete_metadata_is_refused() {
        for (server, body, problem) in [
            ("nginx", r#"{"clientId":"c","tenantId":"t","cuId":{"vmId":"v"}}"#, "did not identify itself"),
            ("IMDS/1", "", "not the expected JSON"),
            ("IMDS/1", "null", "not the expected JSON"),
            ("IMDS/1", "<html>secret-text</html>", "not the expected JSON"),
            ("IMDS/1", r#"{"clientId":7}"#, "not the expected JSON"),
            ("IMDS/1", r#"{"tenantId":"t","cuId":{"vmId":"v"}}"#, "without clientId"),
            ("IMDS/1", r#"{"clientId":" ","tenantId":"t","cuId":{"vmId":"v"}}"#, "without clientId"),
            ("IMDS/1", r#"{"clientId":"c","tenantId":"","cuId":{"vmId":"v"}}"#, "without tenantId"),
            ("IMDS/1", r#"{"clientId":"c","tenantId":"t"}"#, "without vmId or vmssId"),
            ("IMDS/1", r#"{"clientId":"c","tenantId":"t","cuId":{"vmId":""}}"#, "without vmId or vmssId"),
        ] {
            let error = read(server, body).err().unwrap();
            assert_eq!(error.code(), "invalid_response", "{body}");
            assert!(error.to_string().contains(problem), "{body}: {error}");
            assert!(!format!("{error:?}{error}").contains("secret-text"));
        }
    }
}
