//! Cloud Shell: tokens of the user who is signed in to the portal. (Managed-identity sources §2.4.)

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use symbolon_binding::IdKind;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{Request, Route};
use symbolon_types::Env;
use url::form_urlencoded::Serializer;

use crate::Source;
use crate::source::Question;
use crate::source::endpoint::{endpoint_of, metadata_header};

/// The request for a token.
pub(crate) fn request(question: &Question<'_>, env: &Env) -> Result<Request, Error> {
    if question.id.kind() != IdKind::SystemAssigned {
        let error = "Cloud Shell has no user-assigned identities; nothing was sent";
        return Err(Error::new(
            ErrorKind::Environment,
            "user_assigned_managed_identity_not_supported",
            error,
        )
        .with_advice("ask for the system-assigned identity: in Cloud Shell it is the user"));
    }
    let url = endpoint_of(Source::CloudShell, env, "MSI_ENDPOINT")?;
    let body = Serializer::new(String::new()).append_pair("resource", question.resource).finish();
    let mut request = Request::new(Method::POST, url, Route::Local).with_body(body);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let (name, value) = metadata_header();
    headers.insert(name, value);
    Ok(request)
}
