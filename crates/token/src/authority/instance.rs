//! Whether a host that we do not know is one of Microsoft Entra.

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

use super::memory::{for_a_while, for_good, until_asked_again};

/// Who is asked about a host that nobody here knows. (MSAL.NET `NetworkMetadataProvider`, as all
/// below.)
const INSTANCE_DISCOVERY: &str = "https://login.microsoftonline.com/common/discovery/instance";
const API_VERSION: &str = "1.1";
const TIMEOUT: Duration = Duration::from_secs(10);
/// How the service says that there is no such host.
const INVALID_INSTANCE: &str = "invalid_instance";
/// How long anything but a yes is believed. (Ours: there it is believed until the process ends.)
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// What is known about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It serves Microsoft Entra.
    Genuine,
    /// Nobody could be asked: it gets the benefit of the doubt, as with MSAL.
    Unverified,
    /// It does not.
    Foreign,
}

impl Verdict {
    pub(super) fn judged(self) -> Result<(), Error> {
        if self == Self::Foreign {
            let error = "Microsoft Entra does not know the host of the authority; nothing was sent to it";
            return Err(Error::new(ErrorKind::Request, INVALID_INSTANCE, error).with_advice(
                "check the host; if it is that of a private cloud, switch instance discovery off",
            ));
        }
        Ok(())
    }
}

/// Asks about the host of this authority, and says how long the answer holds.
pub(super) async fn ask_about(http: HttpClient, authority: String) -> Lease<Verdict> {
    let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
    let sent = http.send(&policy, || Ok::<_, TransportError>(request(&authority))).await;
    let verdict = sent.map_or(Verdict::Unverified, |sent| read(&sent.response));
    debug!(?verdict, "instance discovery was asked about a host");
    let now = http.context().clock().now();
    match verdict {
        Verdict::Genuine => for_good(verdict, now),
        Verdict::Unverified => until_asked_again(verdict, now, PAUSE),
        Verdict::Foreign => for_a_while(verdict, now, PAUSE),
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

fn read(response: &Response) -> Verdict {
    if response.status() == StatusCode::OK {
        // Anything may answer 200 on a network with a portal.
        let is_object = serde_json::from_slice::<Map<String, Value>>(response.body());
        return if is_object.is_ok() { Verdict::Genuine } else { Verdict::Unverified };
    }
    match serde_json::from_slice(response.body()) {
        Ok(DiscoveryError { error }) if error == INVALID_INSTANCE => Verdict::Foreign,
        _ => Verdict::Unverified,
    }
}
