//! Requests to the metadata service (docs/protocol/imdsv2.md#retries).

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};
use symbolon_transport::{
    HttpClient, HttpOutcome, Idempotence, Request, Response, RetryPolicy, Route, TransportError,
};
use symbolon_types::{CorrelationId, Error, ErrorKind, IMDS_BASE_URL, Secrets, SharedClock};
use url::Url;

use super::endpoint::ImdsEndpoint;
use super::error::{is_from_imds, other_server, status_error, transport_error};
use super::presence::{ImdsPresence, ProbedServer};
use crate::ManagedIdentityId;
use crate::step_timer::StepTimer;

/// Required by the service as a protection against forged requests: a redirect cannot add it.
pub(super) const METADATA: HeaderName = HeaderName::from_static("metadata");
/// Id under which the service logs the request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
/// Name of the calling library, which the service forwards to the token service
/// (docs/protocol/sources.md#instance-metadata-v1).
const CLIENT_SKU: HeaderName = HeaderName::from_static("x-client-sku");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("x-client-ver");
/// Query parameter of a mint after a refusal (docs/protocol/imdsv2.md#recovery).
const BYPASS_CACHE: (&str, &str) = ("bypass_cache", "true");

/// Client of the instance metadata service. Clones are cheap.
#[derive(Clone, Debug)]
pub struct ImdsClient {
    pub(super) base: Url,
    pub(super) http: HttpClient,
    /// `None` for a service that the configuration names, which is requested without a probe.
    pub(super) presence: Option<ImdsPresence>,
}

/// Request to the metadata service.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "built by its callers, member by member")]
pub struct ImdsRequest<'a> {
    /// Endpoint of the request.
    pub endpoint: ImdsEndpoint,
    /// Managed identity that the request is about.
    pub id: &'a ManagedIdentityId,
    /// Resource of the token; only for [`ImdsEndpoint::BearerToken`].
    pub resource: Option<&'a str>,
    /// Makes the service issue a new certificate instead of one that it cached; only for
    /// [`ImdsEndpoint::IssueCredential`].
    pub bypass_cache: bool,
    /// JSON body; with one, the request is a POST.
    pub body: Option<Bytes>,
    /// Secrets in the body, which no error repeats.
    pub secrets: Secrets,
    /// Policy of retries and timeouts.
    pub policy: &'a RetryPolicy,
    /// Id under which the service logs the request.
    pub correlation_id: CorrelationId,
}

impl ImdsClient {
    /// Creates a client for the origin of `base`; its path and query are ignored.
    ///
    /// # Errors
    /// `invalid_configuration` when `base` is not an http or https URL with a host.
    pub fn new(base: Url, http: HttpClient) -> Result<Self, Error> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_configuration",
                "the address of the instance metadata service is not an http or https URL",
            )
            .with_advice(format!("on an Azure machine the address is {IMDS_BASE_URL}")));
        }
        Ok(Self { base, http, presence: None })
    }

    /// Probes before the first request, and fails within a second if there is no service. For a
    /// service that no configuration names, because most machines have none. Default: no probe.
    ///
    /// Another server at the address gets one request, and is used if it responds with a token.
    #[must_use]
    pub fn with_presence(self, presence: Option<ImdsPresence>) -> Self {
        Self { presence, ..self }
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Returns the clock of the HTTP client.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        self.http.context().clock()
    }

    /// Returns scheme, host and port of the service.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Sends a request, with retries, and returns the response if its status is 200.
    ///
    /// # Errors
    /// `managed_identity_request_failed` for any other status; `managed_identity_unreachable` or
    /// `timeout` without a response; `response_too_large` or `invalid_response` for a response that
    /// is too large or not HTTP; `mtls_pop_not_supported_in_imds_v1` when the service issues no
    /// certificates.
    pub async fn send(&self, request: &ImdsRequest<'_>) -> Result<HttpOutcome, Error> {
        let endpoint = request.endpoint;
        let server = self.find_service(endpoint).await?;
        let policy = match server {
            ProbedServer::Other { is_transient: false } => request.policy.clone().without_retries(),
            _ => request.policy.clone(),
        };
        let http_request = self.http_request(request);
        let timer = StepTimer::start(self.clock());
        match self.http.send(&policy, || Ok::<_, TransportError>(http_request.clone())).await {
            Ok(sent) => {
                let status = sent.response.status();
                tracing::debug!(
                    leg = %endpoint,
                    status = status.as_u16(),
                    attempts = sent.attempts,
                    duration_ms = timer.millis(),
                    "the metadata service responded"
                );
                if server != ProbedServer::Service && !self.is_service(endpoint, &sent.response) {
                    Err(other_server(&sent.response, &self.origin()))
                } else if status == StatusCode::OK {
                    Ok(sent)
                } else {
                    Err(status_error(endpoint, &sent.response, self.clock()))
                }
            }
            Err(error) => {
                tracing::debug!(
                    leg = %endpoint,
                    failure = ?error.kind(),
                    duration_ms = timer.millis(),
                    "the metadata service did not respond"
                );
                Err(transport_error(error, &self.origin()))
            }
        }
    }

    /// Returns true if the metadata service sent the response, or a product that takes its place
    /// for bearer tokens, and records the presence of a service.
    fn is_service(&self, endpoint: ImdsEndpoint, response: &Response) -> bool {
        let is_token = || {
            endpoint == ImdsEndpoint::BearerToken
                && response.status() == StatusCode::OK
                && serde_json::from_slice::<Map<String, Value>>(response.body()).is_ok()
        };
        let is_service = is_from_imds(response) || is_token();
        if let Some(presence) = self.presence.as_ref().filter(|_| is_service) {
            presence.record();
        }
        is_service
    }

    fn http_request(&self, request: &ImdsRequest<'_>) -> Request {
        let url = self.url(request.endpoint.path(), &query(request));
        let mut http_request = match &request.body {
            None => Request::new(Method::GET, url, Route::Local),
            // A repeated certificate request leads to another certificate for the same key at most
            // (docs/protocol/imdsv2.md#retries).
            Some(body) => Request::new(Method::POST, url, Route::Local)
                .with_body(body.clone())
                .with_idempotence(Idempotence::Message),
        };
        http_request = http_request.with_secrets(request.secrets.clone());
        let has_body = !http_request.body().is_empty();
        let headers = http_request.headers_mut();
        headers.insert(METADATA, HeaderValue::from_static("true"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if request.endpoint == ImdsEndpoint::BearerToken {
            headers.insert(CLIENT_SKU, HeaderValue::from_static("symbolon"));
            headers.insert(CLIENT_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
        }
        if let Ok(id) = HeaderValue::from_str(&request.correlation_id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        http_request
    }

    pub(super) fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url.set_query(Some(query));
        url.set_fragment(None);
        url
    }
}

fn query(request: &ImdsRequest<'_>) -> String {
    let id = match request.endpoint {
        ImdsEndpoint::PlatformMetadata | ImdsEndpoint::IssueCredential => request.id.imdsv2_parameter(),
        ImdsEndpoint::BearerToken => request.id.imdsv1_parameter(),
    };
    let version = request.endpoint.api_version();
    let resource = request.resource.map(|resource| ("resource", resource));
    let bypass = request.bypass_cache.then_some(BYPASS_CACHE);
    let mut query = String::new();
    for (name, value) in [Some(version), resource, id, bypass].into_iter().flatten() {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        percent_encode(value, &mut query);
    }
    query
}

/// Encodes all but the unreserved characters of RFC 3986 §2.3. A space becomes `%20`, which every
/// server decodes, and not `+`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn query_of(endpoint: ImdsEndpoint, id: &ManagedIdentityId, resource: Option<&str>) -> String {
        query(&ImdsRequest {
            endpoint,
            id,
            resource,
            bypass_cache: false,
            body: None,
            secrets: Secrets::none(),
            policy: &RetryPolicy::once(),
            correlation_id: CorrelationId::random(),
        })
    }

    #[test]
    fn id_is_percent_encoded() {
        for (id, expected) in [
            (ManagedIdentityId::system_assigned(), "cred-api-version=2.0"),
            (ManagedIdentityId::client_id("a-b").unwrap(), "cred-api-version=2.0&client_id=a-b"),
            (
                ManagedIdentityId::resource_id("/sub/a b+c&x=é").unwrap(),
                "cred-api-version=2.0&mi_res_id=%2Fsub%2Fa%20b%2Bc%26x%3D%C3%A9",
            ),
        ] {
            assert_eq!(query_of(ImdsEndpoint::IssueCredential, &id, None), expected);
        }
    }

    #[test]
    fn bearer_token_query_has_v1_spelling() {
        let id = ManagedIdentityId::resource_id("/sub").unwrap();
        let resource = Some("https://vault.azure.net/?a&b");
        let expected =
            "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net%2F%3Fa%26b&msi_res_id=%2Fsub";
        assert_eq!(query_of(ImdsEndpoint::BearerToken, &id, resource), expected);
    }
}
