//! App Service, and what has its endpoint: Functions, Container Apps, Automation.
//! (Managed-identity sources §2.1.)

use http::{HeaderName, Method};
use symbolon_binding::IdKind;
use symbolon_token::Error;
use symbolon_transport::{Request, Route};
use symbolon_types::Env;

use crate::Source;
use crate::source::endpoint::{append, endpoint_of, metadata_header, secret_of};
use crate::source::{Question, api_version};

const SECRET: HeaderName = HeaderName::from_static("x-identity-header");

/// The request for a token.
pub(crate) fn request(question: &Question<'_>, env: &Env) -> Result<Request, Error> {
    let mut url = endpoint_of(Source::AppService, env, "IDENTITY_ENDPOINT")?;
    append(&mut url, "api-version", api_version::APP_SERVICE);
    append(&mut url, "resource", question.resource);
    let selector = match question.id.kind() {
        IdKind::ClientId => Some("client_id"),
        IdKind::ObjectId => Some("object_id"),
        IdKind::ResourceId => Some("mi_res_id"),
        _ => None,
    };
    if let (Some(name), Some(value)) = (selector, question.id.value()) {
        append(&mut url, name, value);
    }
    let mut request = Request::new(Method::GET, url, Route::Local);
    let headers = request.headers_mut();
    headers.insert(SECRET, secret_of(Source::AppService, env, "IDENTITY_HEADER")?);
    // Automation insists on it.
    let (name, value) = metadata_header();
    headers.insert(name, value);
    Ok(request)
}
