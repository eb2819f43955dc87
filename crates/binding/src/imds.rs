//! Requests to the instance metadata service. (IMDSv2 §2, §4, §9.)

mod compute;
mod probe;

use std::fmt::{self, Write};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, SERVER};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use symbolon_transport::{
    HttpClient, Request, Response, RetryPolicy, Route, Sent, TransportError, TransportErrorKind,
};
use symbolon_types::{CorrelationId, Error, ErrorKind, SharedClock};
use url::Url;

pub use self::probe::{Probe, Verdict};
use crate::ManagedIdentityId;
use crate::elapsed::Elapsed;

/// Without it, the service refuses: it shows that the request was not forged by way of a redirect.
const METADATA: HeaderName = HeaderName::from_static("metadata");
/// Under which the service logs the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
/// Who asks: the service passes it on to the token service. (Managed-identity sources §2.6.)
const CLIENT_SKU: HeaderName = HeaderName::from_static("x-client-sku");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("x-client-ver");
/// (IMDSv2 §2.1, §4.1.)
const CREDENTIAL_API_VERSION: (&str, &str) = ("cred-api-version", "2.0");
/// (Managed-identity sources §2.6.)
const TOKEN_API_VERSION: (&str, &str) = ("api-version", "2018-02-01");
/// (IMDSv2 §10.1.)
const BYPASS_CACHE: (&str, &str) = ("bypass_cache", "true");
/// What the `Server` header contains, in any case. (IMDSv2 §2.2.)
const SERVER_NAME: &[u8] = b"IMDS";

/// Asks the instance metadata service. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Imds {
    base: Url,
    http: HttpClient,
}

/// What the service is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leg {
    /// Which identity and machine this is: the first of the two requests of a mint.
    PlatformMetadata,
    /// A certificate: the second.
    IssueCredential,
    /// A bearer token: `IMDSv1`, all in one request.
    BearerToken,
}

/// One question to the service.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "put together by its callers, member by member")]
pub struct Question<'a> {
    /// What is asked for.
    pub leg: Leg,
    /// For which identity.
    pub id: &'a ManagedIdentityId,
    /// For which resource: [`Leg::BearerToken`] only.
    pub resource: Option<&'a str>,
    /// Whether the service is to issue anew what it might have kept: [`Leg::IssueCredential`] only.
    pub bypass_cache: bool,
    /// What goes along as JSON.
    pub body: Option<Bytes>,
    /// When to ask again.
    pub policy: &'a RetryPolicy,
    /// Under which id the service logs the request.
    pub correlation_id: CorrelationId,
}

impl Imds {
    /// Asks at the origin of `base`; its path and query do not count.
    ///
    /// # Errors
    /// `invalid_configuration` when the address is not an http or https URL with a host.
    pub fn new(base: Url, http: HttpClient) -> Result<Self, Error> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_configuration",
                "the address of the instance metadata service is not an http or https URL",
            )
            .with_advice("on an Azure machine it is http://169.254.169.254"));
        }
        Ok(Self { base, http })
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// The clock that its retries wait on.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        self.http.context().clock()
    }

    /// The answer, if it is a 200, and how many requests it took.
    ///
    /// # Errors
    /// `managed_identity_request_failed` for another status, `managed_identity_unreachable` or
    /// `timeout` when there is no answer, `response_too_large` or `invalid_response` when it cannot
    /// be one, `mtls_pop_not_supported_in_imds_v1` when the service issues no certificates.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Sent, Error> {
        let (leg, policy) = (question.leg, question.policy);
        let request = self.request(question);
        let elapsed = Elapsed::on(self.clock());
        let sent = self.http.send(policy, || Ok::<_, TransportError>(request.clone())).await;
        match sent {
            Ok(sent) => {
                let status = sent.response.status();
                tracing::debug!(
                    %leg,
                    status = status.as_u16(),
                    attempts = sent.attempts,
                    duration_ms = elapsed.millis(),
                    "the metadata service answered"
                );
                if status == StatusCode::OK {
                    return Ok(sent);
                }
                Err(refused(leg, &sent.response, self.clock()))
            }
            Err(error) => {
                tracing::debug!(
                    %leg,
                    failure = ?error.kind(),
                    duration_ms = elapsed.millis(),
                    "the metadata service did not answer"
                );
                Err(unanswered(error))
            }
        }
    }

    fn request(&self, question: &Question<'_>) -> Request {
        let mut url = self.base.clone();
        url.set_path(question.leg.path());
        url.set_query(Some(&query(question)));
        url.set_fragment(None);
        let mut request = match &question.body {
            None => Request::new(Method::GET, url, Route::Local),
            Some(body) => Request::new(Method::POST, url, Route::Local).with_body(body.clone()),
        };
        let has_body = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.insert(METADATA, HeaderValue::from_static("true"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if question.leg == Leg::BearerToken {
            headers.insert(CLIENT_SKU, HeaderValue::from_static("symbolon"));
            headers.insert(CLIENT_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
        }
        // A UUID is a header value.
        if let Ok(id) = HeaderValue::from_str(&question.correlation_id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        request
    }
}

impl Leg {
    fn path(self) -> &'static str {
        match self {
            Self::PlatformMetadata => "/metadata/identity/getplatformmetadata",
            Self::IssueCredential => "/metadata/identity/issuecredential",
            Self::BearerToken => "/metadata/identity/oauth2/token",
        }
    }

    fn api_version(self) -> (&'static str, &'static str) {
        match self {
            Self::PlatformMetadata | Self::IssueCredential => CREDENTIAL_API_VERSION,
            Self::BearerToken => TOKEN_API_VERSION,
        }
    }
}

/// The name in logs.
impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlatformMetadata => "getplatformmetadata",
            Self::IssueCredential => "issuecredential",
            Self::BearerToken => "oauth2/token",
        })
    }
}

fn query(question: &Question<'_>) -> String {
    let id = match question.leg {
        Leg::PlatformMetadata | Leg::IssueCredential => question.id.imdsv2_parameter(),
        Leg::BearerToken => question.id.imdsv1_parameter(),
    };
    let resource = question.resource.map(|resource| ("resource", resource));
    let mut query = String::new();
    let bypass = question.bypass_cache.then_some(BYPASS_CACHE);
    for (name, value) in [Some(question.leg.api_version()), resource, id, bypass].into_iter().flatten() {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        percent_encode(value, &mut query);
    }
    query
}

/// Everything but the unreserved characters of RFC 3986 §2.3; a blank becomes `%20`, which, other
/// than `+`, means the same to every server.
fn percent_encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            // Writing into a `String` cannot fail.
            let _written = write!(into, "%{byte:02X}");
        }
    }
}

/// Whether the instance metadata service itself sent this, and not a proxy or another server.
pub(crate) fn is_from_imds(response: &Response) -> bool {
    let names = |value: &HeaderValue| {
        value.as_bytes().windows(SERVER_NAME.len()).any(|part| part.eq_ignore_ascii_case(SERVER_NAME))
    };
    response.headers().get_all(SERVER).iter().any(names)
}

/// The service answered something that must not be used.
#[must_use]
pub fn invalid_response(wrong: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", format!("the instance metadata service {wrong}"))
        .with_advice("check that the address of the metadata service is right and nothing stands in between")
}

fn refused(leg: Leg, response: &Response, clock: &SharedClock) -> Error {
    let status = response.status();
    let from_imds = is_from_imds(response);
    if matches!(leg, Leg::PlatformMetadata) && status == StatusCode::NOT_FOUND && from_imds {
        return Error::new(
            ErrorKind::Environment,
            "mtls_pop_not_supported_in_imds_v1",
            "this machine's metadata service issues no certificates for managed identities",
        )
        .with_status(status.as_u16())
        .with_advice("ask for a bearer token, or use a machine whose metadata service has version 2");
    }
    let what = match leg {
        Leg::PlatformMetadata => "the instance metadata service did not tell the platform metadata",
        Leg::IssueCredential => "the instance metadata service did not issue a certificate",
        Leg::BearerToken => "the instance metadata service did not issue a token",
    };
    Error::new(ErrorKind::Service, "managed_identity_request_failed", what)
        .with_status(status.as_u16())
        .with_transient(may_pass(status))
        .with_retry_after(response.retry_after(clock.now()))
        .with_excerpt(&String::from_utf8_lossy(response.body()))
        .with_advice(advice(leg, status, from_imds))
}

/// What the retry table of the service takes for passing. (IMDSv2 §9.1, without 404.)
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 410 | 429 | 500..=599)
}

fn advice(leg: Leg, status: StatusCode, from_imds: bool) -> &'static str {
    match (leg, status.as_u16()) {
        _ if !from_imds => {
            "the answer did not come from the metadata service: check its address, proxies and firewalls"
        }
        (Leg::PlatformMetadata | Leg::BearerToken, 400) => {
            "check that the managed identity is assigned to this machine"
        }
        (Leg::IssueCredential, 400) => {
            "check that the managed identity is assigned to this machine; it may also be that this machine \
             must attest its keys, which needs a key provider that does"
        }
        _ if may_pass(status) => "try again later",
        _ => "see the excerpt of the answer, and quote the correlation id when you ask for support",
    }
}

fn unanswered(error: TransportError) -> Error {
    let transient = error.is_transient();
    let (kind, code, what, advice) = match error.kind() {
        TransportErrorKind::Timeout => (
            ErrorKind::Network,
            "timeout",
            "the instance metadata service did not answer in time",
            "try again later; if this machine is not on Azure, no managed identity is available",
        ),
        TransportErrorKind::TooLarge => (
            ErrorKind::Response,
            "response_too_large",
            "the instance metadata service sent more than an answer can be",
            "check that the address of the metadata service is right",
        ),
        TransportErrorKind::Protocol => (
            ErrorKind::Response,
            "invalid_response",
            "what answered for the instance metadata service does not speak HTTP",
            "check that the address of the metadata service is right",
        ),
        _ => (
            ErrorKind::Network,
            "managed_identity_unreachable",
            "could not reach the instance metadata service",
            "check that this is an Azure machine and that nothing blocks the way to its metadata service",
        ),
    };
    Error::new(kind, code, what).with_transient(transient).with_advice(advice).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_percent_encoded() {
        for (id, query_of) in [
            (ManagedIdentityId::system_assigned(), "cred-api-version=2.0"),
            (ManagedIdentityId::client_id("a-b").unwrap(), "cred-api-version=2.0&client_id=a-b"),
            (
                ManagedIdentityId::resource_id("/sub/a b+c&x=é").unwrap(),
                "cred-api-version=2.0&mi_res_id=%2Fsub%2Fa%20b%2Bc%26x%3D%C3%A9",
            ),
        ] {
            let policy = RetryPolicy::once();
            let correlation_id = CorrelationId::random();
            let leg = Leg::IssueCredential;
            let question = Question {
                leg,
                id: &id,
                resource: None,
                bypass_cache: false,
                body: None,
                policy: &policy,
                correlation_id,
            };
            assert_eq!(query(&question), query_of);
        }
    }

    #[test]
    fn a_bearer_token_is_asked_for_in_the_older_spelling() {
        let id = ManagedIdentityId::resource_id("/sub").unwrap();
        let question = Question {
            leg: Leg::BearerToken,
            id: &id,
            resource: Some("https://vault.azure.net/?a&b"),
            bypass_cache: false,
            body: None,
            policy: &RetryPolicy::once(),
            correlation_id: CorrelationId::random(),
        };
        let expected =
            "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net%2F%3Fa%26b&msi_res_id=%2Fsub";
        assert_eq!(query(&question), expected);
    }

    #[test]
    fn only_a_server_header_that_contains_imds_proves_the_service() {
        for (server, proven) in [
            (Some("IMDS/150.870.65.1854"), true),
            (Some("imds"), true),
            (Some("Microsoft-ImdS/2"), true),
            (Some("I_MDS/150.870.65.1854"), false),
            (Some("nginx"), false),
            (Some(""), false),
            (None, false),
        ] {
            let headers = server.map(|value| (SERVER, HeaderValue::from_static(value))).into_iter().collect();
            let response = Response::new(StatusCode::OK, "").with_headers(headers);
            assert_eq!(is_from_imds(&response), proven, "{server:?}");
        }
    }
}
