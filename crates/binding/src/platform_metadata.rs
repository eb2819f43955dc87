//! What the metadata service says about the machine and the identity. (IMDSv2 §2.2.)

use serde::Deserialize;
use symbolon_transport::Response;
use symbolon_types::Error;
use url::Url;

use crate::csr::{ComputeUnitId, Subject};
use crate::imds::{invalid_response, is_from_imds};

/// The answer of `getplatformmetadata`, as far as it matters here.
pub(crate) struct PlatformMetadata {
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    pub(crate) compute_unit: ComputeUnitId,
    /// Only attested keys need it.
    attestation_endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    client_id: Option<String>,
    tenant_id: Option<String>,
    cu_id: Option<ComputeUnitId>,
    attestation_endpoint: Option<String>,
}

impl PlatformMetadata {
    /// Reads a response of status 200.
    pub(crate) fn read(response: &Response) -> Result<Self, Error> {
        if !is_from_imds(response) {
            return Err(invalid_response("did not identify itself in its answer"));
        }
        // The parser's own error could quote the answer.
        let body: Body = serde_json::from_slice(response.body())
            .map_err(|_| invalid_response("sent platform metadata that is not the expected JSON"))?;
        let lacks = |what| invalid_response(format_args!("sent platform metadata without {what}"));
        let present = |text: &String| !text.trim().is_empty();
        Ok(Self {
            client_id: body.client_id.filter(present).ok_or_else(|| lacks("clientId"))?,
            tenant_id: body.tenant_id.filter(present).ok_or_else(|| lacks("tenantId"))?,
            compute_unit: body
                .cu_id
                .filter(ComputeUnitId::is_named)
                .ok_or_else(|| lacks("vmId or vmssId in cuId"))?,
            attestation_endpoint: body.attestation_endpoint.filter(present),
        })
    }

    /// Where keys are attested.
    pub(crate) fn attestation_endpoint(&self) -> Result<Url, Error> {
        let text = self.attestation_endpoint.as_deref();
        let text =
            text.ok_or_else(|| invalid_response("sent platform metadata without attestationEndpoint"))?;
        let url = text.parse::<Url>().ok().filter(|url| url.scheme() == "https" && url.has_host());
        url.ok_or_else(|| invalid_response("named an attestation endpoint that is not an https URL"))
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { client_id: &self.client_id, tenant_id: &self.tenant_id, compute_unit: &self.compute_unit }
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
    fn the_attestation_endpoint_and_unknown_members_do_not_matter() {
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
    fn metadata_that_lacks_something_is_refused_and_the_error_says_what() {
        for (server, body, wrong) in [
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
            assert!(error.to_string().contains(wrong), "{body}: {error}");
            assert!(!format!("{error:?}{error}").contains("secret-text"));
        }
    }
}
