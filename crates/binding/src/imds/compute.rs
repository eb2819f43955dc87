//! Compute metadata of the machine (docs/protocol/imdsv2.md#compute-metadata).

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use symbolon_transport::{Request, RetryPolicy, Route, TransportError};

use super::client::{ImdsClient, METADATA};

const PATH: &str = "/metadata/instance/compute";
const QUERY: &str = "api-version=2021-02-01";
const TIMEOUT: Duration = Duration::from_millis(600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComputeResponse {
    os_type: Option<String>,
    security_profile: Option<SecurityProfile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityProfile {
    security_type: Option<String>,
}

impl ImdsClient {
    /// Returns true if the machine reports that it runs Windows with trusted launch, or as a
    /// confidential machine. Such a machine can bind tokens once its metadata service has version
    /// 2.
    pub async fn is_trusted_launch(&self) -> bool {
        let url = self.url(PATH, QUERY);
        let mut request = Request::new(Method::GET, url, Route::Local);
        request.headers_mut().insert(METADATA, HeaderValue::from_static("true"));
        let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
        let Ok(sent) = self.http.send(&policy, || Ok::<_, TransportError>(request.clone())).await else {
            return false;
        };
        sent.response.status() == StatusCode::OK && is_trusted_launch(sent.response.body())
    }
}

fn is_trusted_launch(body: &[u8]) -> bool {
    let Ok(ComputeResponse { os_type: Some(os), security_profile: Some(profile) }) =
        serde_json::from_slice(body)
    else {
        return false;
    };
    let security_type = profile.security_type.unwrap_or_default();
    os.eq_ignore_ascii_case("Windows")
        && ["TrustedLaunch", "ConfidentialVM"].iter().any(|name| security_type.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_launch_requires_windows() {
        for (body, expected) in [
            (r#"{"osType":"Windows","securityProfile":{"securityType":"TrustedLaunch"}}"#, true),
            (r#"{"osType":"windows","securityProfile":{"securityType":"confidentialvm"}}"#, true),
            (r#"{"osType":"Linux","securityProfile":{"securityType":"TrustedLaunch"}}"#, false),
            (r#"{"osType":"Windows","securityProfile":{"securityType":"Standard"}}"#, false),
            (r#"{"osType":"Windows","securityProfile":{}}"#, false),
            (r#"{"osType":"Windows"}"#, false),
            ("{}", false),
            ("not json", false),
        ] {
            assert_eq!(is_trusted_launch(body.as_bytes()), expected, "{body}");
        }
    }
}
