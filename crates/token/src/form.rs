//! The token request.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use symbolon_transport::Request;
use symbolon_types::{CorrelationId, Error};
use url::form_urlencoded::Serializer;

use crate::grant::Grant;
use crate::parameters::Parameters;
use crate::{ClientAuth, RoutingHint, Scheme};

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const RETURN_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("return-client-request-id");
/// Tells Entra that we honour `Retry-After` and 429 (MSAL.NET `ThrottleCommon`).
const LIB_CAPABILITY: HeaderName = HeaderName::from_static("x-ms-lib-capability");
const CLIENT_SKU: HeaderName = HeaderName::from_static("x-client-sku");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("x-client-ver");
const CLIENT_OS: HeaderName = HeaderName::from_static("x-client-os");
const CURRENT_TELEMETRY: HeaderName = HeaderName::from_static("x-client-current-telemetry");
/// (MSAL.NET `Constants.CcsRoutingHintHeader`.)
const ANCHOR_MAILBOX: HeaderName = HeaderName::from_static("x-anchormailbox");

/// What a request asks, apart from who asks.
pub(crate) struct Form<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) scope: &'a str,
    pub(crate) claims: Option<&'a str>,
    pub(crate) parameters: &'a Parameters,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) telemetry: Option<HeaderValue>,
    pub(crate) routing_hint: Option<RoutingHint>,
}

/// The request as this client makes it at this time. A bound token is asked for by `token_type`;
/// its certificate goes on the connection and nowhere else (no `req_cnf`).
pub(crate) fn token_request(auth: &ClientAuth, form: &Form<'_>, now: SystemTime) -> Result<Request, Error> {
    let mut body = Serializer::new(String::new());
    body.append_pair("client_id", auth.client_id());
    for (name, value) in auth.parameters(now)? {
        body.append_pair(&name, value.expose());
    }
    let scope = form.grant.scope(form.scope);
    if !scope.is_empty() {
        body.append_pair("scope", &scope);
    }
    body.extend_pairs(form.grant.parameters());
    if let Some(claims) = form.claims {
        body.append_pair("claims", claims);
    }
    if let Scheme::MtlsPop(_) = auth.scheme() {
        body.append_pair("token_type", auth.scheme().token_type());
    }
    body.extend_pairs(form.parameters.in_body());
    let endpoint = auth.token_endpoint();
    let mut url = endpoint.url().clone();
    if form.parameters.has_query() {
        url.query_pairs_mut().extend_pairs(form.parameters.in_query());
    }
    let mut request = Request::new(Method::POST, url, endpoint.route())
        .with_body(Bytes::from(body.finish()))
        .with_identity(auth.identity().cloned());
    *request.headers_mut() = headers(form);
    Ok(request)
}

fn headers(form: &Form<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Ok(id) = HeaderValue::try_from(form.correlation_id.to_string()) {
        headers.insert(CLIENT_REQUEST_ID, id);
    }
    headers.insert(RETURN_CLIENT_REQUEST_ID, HeaderValue::from_static("true"));
    headers.insert(LIB_CAPABILITY, HeaderValue::from_static("retry-after, h429"));
    headers.insert(CLIENT_SKU, HeaderValue::from_static("symbolon"));
    headers.insert(CLIENT_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    headers.insert(CLIENT_OS, HeaderValue::from_static(std::env::consts::OS));
    headers.extend(form.telemetry.clone().map(|telemetry| (CURRENT_TELEMETRY, telemetry)));
    headers.extend(form.routing_hint.as_ref().map(|hint| (ANCHOR_MAILBOX, hint.header())));
    headers
}
