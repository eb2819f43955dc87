//! The page: one document, which loads nothing and runs nothing but what is in it.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::Answer;
use super::body::Body;
use crate::random;

const PAGE: &str = include_str!("page.html");
/// What stands in the document where its own styles and its script are marked.
const NONCE: &str = "{{nonce}}";

pub(super) fn answer() -> Answer {
    let nonce = random::guid();
    // Everything else is forbidden (CSP Level 3 §6.1): no resource, no frame, no form that leaves.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut answer = Response::new(Body::whole(PAGE.replace(NONCE, &nonce)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}
