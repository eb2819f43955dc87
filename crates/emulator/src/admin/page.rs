//! The admin page: one document without external resources.

use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, StatusCode};

use crate::admin::response::{AdminResponse, text};
use crate::random;

const PAGE: &str = include_str!("page.html");
/// The placeholder for the nonce of the page's styles and script.
const NONCE: &str = "{{nonce}}";

pub(super) fn response() -> AdminResponse {
    let nonce = random::guid();
    // Forbids all other resources, frames and forms: <https://www.w3.org/TR/CSP3/#directives>
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = PAGE.replace(NONCE, &nonce);
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", page);
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
