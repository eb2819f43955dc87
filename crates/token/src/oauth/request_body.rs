//! The HTTP request to a token endpoint.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use symbolon_transport::Request;
use symbolon_types::{CorrelationId, Secret};
use url::form_urlencoded::Serializer;

use super::assertion::ASSERTION_TYPE;
use super::endpoint::TokenEndpoint;
use super::grant::Grant;
use super::parameters::Parameters;
use super::routing_hint::RoutingHint;
use super::scheme::Scheme;

// The headers of `docs/protocol/token-request.md#request-headers`.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const RETURN_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("return-client-request-id");
const LIB_CAPABILITY: HeaderName = HeaderName::from_static("x-ms-lib-capability");
const CLIENT_SKU: HeaderName = HeaderName::from_static("x-client-sku");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("x-client-ver");
const CLIENT_OS: HeaderName = HeaderName::from_static("x-client-os");
const CURRENT_TELEMETRY: HeaderName = HeaderName::from_static("x-client-current-telemetry");
const ANCHOR_MAILBOX: HeaderName = HeaderName::from_static("x-anchormailbox");

/// The content of a token request, independent of the endpoint.
pub(crate) struct TokenRequestBody<'a> {
    pub(crate) client_id: &'a str,
    /// The parameters that authenticate the client.
    pub(crate) credentials: Vec<(Cow<'static, str>, Secret)>,
    pub(crate) scheme: &'a Scheme,
    pub(crate) grant: &'a Grant,
    pub(crate) scope: &'a str,
    pub(crate) claims: Option<&'a str>,
    pub(crate) parameters: &'a Parameters,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) telemetry: Option<HeaderValue>,
    pub(crate) routing_hint: Option<&'a RoutingHint>,
}

impl TokenRequestBody<'_> {
    /// Returns the HTTP request to `endpoint` (`docs/protocol/token-request.md#request-body`).
    pub(crate) fn to_request(&self, endpoint: &TokenEndpoint) -> Request {
        let mut body = Serializer::new(String::new());
        body.append_pair("client_id", self.client_id);
        for (name, value) in &self.credentials {
            body.append_pair(name, value.expose());
        }
        let scope = self.grant.scope(self.scope);
        if !scope.is_empty() {
            body.append_pair("scope", &scope);
        }
        body.extend_pairs(self.grant.parameters());
        if let Some(claims) = self.claims {
            body.append_pair("claims", claims);
        }
        if let Scheme::MtlsPop(_) = self.scheme {
            body.append_pair("token_type", self.scheme.token_type());
        }
        body.extend_pairs(self.parameters.in_body());
        let mut url = endpoint.url().clone();
        let mut query = self.parameters.in_query().peekable();
        // Opening the query of a URL without one would append a `?`.
        if query.peek().is_some() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::new(Method::POST, url, endpoint.route())
            .with_body(Bytes::from(body.finish()))
            .with_private_trust(endpoint.private_trust().cloned());
        let credentials = self.credentials.iter().filter(|(name, _)| name != ASSERTION_TYPE);
        let credentials = credentials.map(|(_, value)| value.clone());
        request = request.with_secrets(credentials.chain(self.grant.secrets()));
        *request.headers_mut() = self.headers();
        request
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Ok(id) = HeaderValue::try_from(self.correlation_id.to_string()) {
            headers.insert(CLIENT_REQUEST_ID, id);
        }
        headers.insert(RETURN_CLIENT_REQUEST_ID, HeaderValue::from_static("true"));
        headers.insert(LIB_CAPABILITY, HeaderValue::from_static("retry-after, h429"));
        headers.insert(CLIENT_SKU, HeaderValue::from_static("symbolon"));
        headers.insert(CLIENT_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
        headers.insert(CLIENT_OS, HeaderValue::from_static(std::env::consts::OS));
        headers.extend(self.telemetry.clone().map(|telemetry| (CURRENT_TELEMETRY, telemetry)));
        headers.extend(self.routing_hint.map(|hint| (ANCHOR_MAILBOX, hint.header())));
        headers
    }
}
