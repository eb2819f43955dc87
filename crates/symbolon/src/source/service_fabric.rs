//! Service Fabric: an endpoint with a self-signed certificate, known by its thumbprint.
//! (Managed-identity sources §2.2.)

use http::{HeaderName, Method};
use symbolon_binding::IdKind;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{CertificatePin, Request, Route};
use symbolon_types::Env;

use crate::Source;
use crate::source::endpoint::{append, endpoint_of, invalid, missing, secret_of};
use crate::source::{Question, api_version};

const SECRET: HeaderName = HeaderName::from_static("secret");
const PIN: &str = "IDENTITY_SERVER_THUMBPRINT";

/// The request for a token. The three variables are read together and anew, because the host replaces
/// the certificate: the secret goes to the endpoint that it came with, or nowhere.
pub(crate) fn request(question: &Question<'_>, env: &Env) -> Result<Request, Error> {
    let principal = principal(question)?;
    let mut url = endpoint_of(Source::ServiceFabric, env, "IDENTITY_ENDPOINT")?;
    if url.scheme() != "https" {
        return Err(invalid(Source::ServiceFabric, "IDENTITY_ENDPOINT")
            .with_advice("it must be an https URL: the secret is never sent without TLS"));
    }
    let pin = env.var(PIN).ok_or_else(|| missing(Source::ServiceFabric, PIN))?;
    let pin: CertificatePin = pin.parse().map_err(|error| {
        invalid(Source::ServiceFabric, PIN)
            .with_advice("it must be forty hexadecimal digits")
            .with_source(error)
    })?;
    append(&mut url, "api-version", api_version::SERVICE_FABRIC);
    append(&mut url, "resource", question.resource);
    if let Some(principal) = principal {
        append(&mut url, "principalId", principal);
    }
    if !question.capabilities.is_empty() {
        append(&mut url, "xms_cc", &question.capabilities.join(","));
    }
    if let Some(refused) = question.refused {
        append(&mut url, "token_sha256_to_refresh", refused);
    }
    let mut request = Request::new(Method::GET, url, Route::Local).with_pinned_server(Some(pin));
    request.headers_mut().insert(SECRET, secret_of(Source::ServiceFabric, env, "IDENTITY_HEADER")?);
    Ok(request)
}

/// The object id of a user-assigned identity.
fn principal<'a>(question: &Question<'a>) -> Result<Option<&'a str>, Error> {
    match question.id.kind() {
        IdKind::SystemAssigned => Ok(None),
        IdKind::ObjectId => Ok(question.id.value()),
        kind => {
            let error = format!("Service Fabric knows no identity by its {kind}; nothing was sent");
            let code = "user_assigned_managed_identity_not_configurable_at_runtime";
            Err(Error::new(ErrorKind::Environment, code, error)
                .with_advice("name the identity by its object id, or assign it in the application manifest"))
        }
    }
}
