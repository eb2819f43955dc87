//! Azure Machine Learning. (Managed-identity sources §2.3.)

use http::{HeaderName, Method};
use symbolon_binding::IdKind;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{Request, Route};
use symbolon_types::Env;

use crate::Source;
use crate::source::endpoint::{append, endpoint_of, metadata_header, secret_of};
use crate::source::{Question, api_version};

const SECRET: HeaderName = HeaderName::from_static("secret");
/// Which identity is the host's own: here it must be named like any other.
const DEFAULT_IDENTITY: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The request for a token.
pub(crate) fn request(question: &Question<'_>, env: &Env) -> Result<Request, Error> {
    let client_id = client_id(question, env)?;
    let mut url = endpoint_of(Source::MachineLearning, env, "MSI_ENDPOINT")?;
    append(&mut url, "api-version", api_version::MACHINE_LEARNING);
    append(&mut url, "resource", question.resource);
    // Without an underscore, other than everywhere else.
    append(&mut url, "clientid", &client_id);
    let mut request = Request::new(Method::GET, url, Route::Local);
    let headers = request.headers_mut();
    headers.insert(SECRET, secret_of(Source::MachineLearning, env, "MSI_SECRET")?);
    let (name, value) = metadata_header();
    headers.insert(name, value);
    Ok(request)
}

fn client_id(question: &Question<'_>, env: &Env) -> Result<String, Error> {
    let refuse = |error: String, advice: &'static str| {
        Error::new(ErrorKind::Environment, "invalid_managed_identity_id_type", error).with_advice(advice)
    };
    match (question.id.kind(), question.id.value()) {
        (IdKind::SystemAssigned, _) => env.var(DEFAULT_IDENTITY).ok_or_else(|| {
            let error =
                format!("{DEFAULT_IDENTITY} does not name the identity of this host; nothing was sent");
            refuse(error, "set it, or name a user-assigned identity by its client id")
        }),
        (IdKind::ClientId, Some(client_id)) => Ok(client_id.to_owned()),
        (kind, _) => {
            let error = format!("Azure Machine Learning knows no identity by its {kind}; nothing was sent");
            Err(refuse(error, "name the identity by its client id"))
        }
    }
}
