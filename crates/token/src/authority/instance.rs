//! Instance discovery: validation of hosts of no known cloud
//! (`docs/protocol/routing.md#instance-discovery`).

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use symbolon_lease::Lease;
use symbolon_transport::{HttpClient, Request, Response, RetryPolicy, Route, TransportError};
use symbolon_types::{Error, ErrorKind};
use tracing::debug;
use url::Url;

use super::memory::{expiring_after, permanent, refreshed_after};

const INSTANCE_DISCOVERY: &str = "https://login.microsoftonline.com/common/discovery/instance";
const API_VERSION: &str = "1.1";
const TIMEOUT: Duration = Duration::from_secs(10);
/// The OAuth error for a host that is not one of Entra.
const INVALID_INSTANCE: &str = "invalid_instance";
/// The time for which any result other than `Valid` is kept.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// The result of instance discovery for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostStatus {
    /// A host of Microsoft Entra.
    Valid,
    /// No usable response: the host is used, as MSAL does.
    Unverified,
    /// Not a host of Microsoft Entra.
    Invalid,
}

impl HostStatus {
    /// Refuses an invalid host.
    pub(super) fn check(self) -> Result<(), Error> {
        if self == Self::Invalid {
            let error = "Microsoft Entra does not know the host of the authority; nothing was sent to it";
            return Err(Error::new(ErrorKind::Request, INVALID_INSTANCE, error).with_advice(
                "check the spelling of the host; for a private cloud, switch instance discovery off",
            ));
        }
        Ok(())
    }
}

/// Requests the status of the host of an authority.
pub(super) async fn discover(http: HttpClient, authority: String) -> Lease<HostStatus> {
    let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
    let sent = http.send(&policy, || Ok::<_, TransportError>(request(&authority))).await;
    let status = sent.map_or(HostStatus::Unverified, |sent| read(&sent.response));
    debug!(?status, "instance discovery returned the status of a host");
    let now = http.context().clock().steady_now();
    match status {
        HostStatus::Valid => permanent(status, now),
        HostStatus::Unverified => refreshed_after(status, now, PAUSE),
        HostStatus::Invalid => expiring_after(status, now, PAUSE),
    }
}

#[expect(clippy::expect_used, reason = "the URL is a constant")]
fn request(authority: &str) -> Request {
    let mut url: Url = INSTANCE_DISCOVERY.parse().expect("a URL");
    url.query_pairs_mut()
        .append_pair("api-version", API_VERSION)
        .append_pair("authorization_endpoint", &format!("{authority}oauth2/v2.0/authorize"));
    let mut request = Request::new(Method::GET, url, Route::Public);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

#[derive(Deserialize)]
struct DiscoveryError {
    error: String,
}

fn read(response: &Response) -> HostStatus {
    if response.status() == StatusCode::OK {
        // A network with a sign-in portal may answer 200 with a page.
        let is_object = serde_json::from_slice::<Map<String, Value>>(response.body());
        return if is_object.is_ok() { HostStatus::Valid } else { HostStatus::Unverified };
    }
    match serde_json::from_slice(response.body()) {
        Ok(DiscoveryError { error }) if error == INVALID_INSTANCE => HostStatus::Invalid,
        _ => HostStatus::Unverified,
    }
}
