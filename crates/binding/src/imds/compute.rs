//! What kind of machine this is. (IMDSv2 §1.8.)

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use symbolon_transport::{Request, RetryPolicy, Route, TransportError};

use super::{Imds, METADATA};

const PATH: &str = "/metadata/instance/compute";
const API_VERSION: &str = "api-version=2021-02-01";
const TIMEOUT: Duration = Duration::from_millis(600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compute {
    os_type: Option<String>,
    security_profile: Option<SecurityProfile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityProfile {
    security_type: Option<String>,
}

impl Imds {
    /// Whether this machine runs Windows as a trusted launch or confidential machine, as far as the
    /// service says so: such a machine can bind once its metadata service has version 2.
    pub async fn is_trusted_launch(&self) -> bool {
        let mut url = self.base.clone();
        url.set_path(PATH);
        url.set_query(Some(API_VERSION));
        url.set_fragment(None);
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
    let Ok(Compute { os_type: Some(os), security_profile: Some(profile) }) = serde_json::from_slice(body)
    else {
        return false;
    };
    let is = |text: &Option<String>, name: &str| {
        text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(name))
    };
    os.eq_ignore_ascii_case("Windows")
        && ["TrustedLaunch", "ConfidentialVM"].iter().any(|name| is(&profile.security_type, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_windows_with_one_of_two_security_types_counts() {
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
