//! The token requests of the sources, and the requests of those that answer a single one.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use symbolon_binding::ManagedIdentityId;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{CertificatePin, Idempotence, Request, Route};
use symbolon_types::{CorrelationId, Env, IdKind, Source, input_flaw};
use url::form_urlencoded::Serializer;

use super::endpoint::{append, endpoint_of, invalid, metadata_header, missing, secret_of};

/// A request for a token, before the source puts it into its own form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceRequest<'a> {
    pub(crate) resource: &'a str,
    pub(crate) id: &'a ManagedIdentityId,
    /// The client's capabilities, for a source that takes them.
    pub(crate) capabilities: &'a [String],
    /// The SHA-256, in hexadecimal digits, of the token that a resource refused. The source then
    /// discards its own copy.
    pub(crate) refused: Option<&'a str>,
    pub(crate) correlation_id: CorrelationId,
}

/// Builds the HTTP request for a source that answers a single one.
pub(crate) fn http_request(source: Source, request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    check_id_kind(source, request.id)?;
    match source {
        Source::ServiceFabric => service_fabric(request, env),
        Source::AppService => app_service(request, env),
        Source::MachineLearning => machine_learning(request, env),
        Source::CloudShell => cloud_shell(request, env),
        _ => {
            let error = format!("{source} does not issue tokens in a single request; nothing was sent");
            Err(Error::new(ErrorKind::Environment, "managed_identity_unavailable", error))
        }
    }
}

/// Refuses a kind of id that the source does not take.
fn check_id_kind(source: Source, id: &ManagedIdentityId) -> Result<(), Error> {
    let (info, kind) = (source.info(), id.kind());
    if kind == IdKind::SystemAssigned || info.id_kinds.contains(&kind) {
        return Ok(());
    }
    let error = format!("{source} cannot select a managed identity by {kind}; nothing was sent");
    Err(Error::new(ErrorKind::Environment, info.id_error_code, error).with_advice(info.id_advice))
}

/// docs/protocol/sources.md#service-fabric
///
/// Reads the three variables together for every request, because the host replaces its certificate:
/// the secret is sent only to the server with the certificate that was set together with it.
fn service_fabric(request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    const PIN: &str = "IDENTITY_SERVER_THUMBPRINT";
    let mut url = endpoint_of(Source::ServiceFabric, env)?;
    let pin = env.var(PIN).ok_or_else(|| missing(Source::ServiceFabric, PIN))?;
    let pin: CertificatePin = pin.parse().map_err(|error| {
        invalid(Source::ServiceFabric, PIN, "is not a thumbprint")
            .with_advice("set it to the forty hexadecimal digits of the certificate's SHA-1 thumbprint")
            .with_source(error)
    })?;
    append(&mut url, "api-version", "2020-05-01");
    append(&mut url, "resource", request.resource);
    if let Some(principal) = request.id.value() {
        append(&mut url, "principalId", principal);
    }
    if !request.capabilities.is_empty() {
        append(&mut url, "xms_cc", &request.capabilities.join(","));
    }
    if let Some(refused) = request.refused {
        append(&mut url, "token_sha256_to_refresh", refused);
    }
    let mut built = Request::new(Method::GET, url, Route::Local).with_pinned_server(Some(pin));
    let secret = secret_of(Source::ServiceFabric, env, "IDENTITY_HEADER")?;
    built.headers_mut().insert(HeaderName::from_static("secret"), secret);
    Ok(built)
}

/// docs/protocol/sources.md#app-service
fn app_service(request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    let mut url = endpoint_of(Source::AppService, env)?;
    append(&mut url, "api-version", "2019-08-01");
    append(&mut url, "resource", request.resource);
    if let Some((name, value)) = request.id.imdsv2_parameter() {
        append(&mut url, name, value);
    }
    let mut built = Request::new(Method::GET, url, Route::Local);
    let secret = secret_of(Source::AppService, env, "IDENTITY_HEADER")?;
    // Automation requires the second one.
    built.headers_mut().extend([(HeaderName::from_static("x-identity-header"), secret), metadata_header()]);
    Ok(built)
}

/// docs/protocol/sources.md#azure-machine-learning
fn machine_learning(request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    const DEFAULT_IDENTITY: &str = "DEFAULT_IDENTITY_CLIENT_ID";
    // The host's own identity, too, is selected by its client id.
    let client_id = match (request.id.value(), env.var(DEFAULT_IDENTITY)) {
        (Some(client_id), _) => client_id.to_owned(),
        (None, Some(client_id)) if input_flaw(&client_id).is_none() => client_id,
        (None, variable) => {
            let flaw =
                variable.as_deref().and_then(input_flaw).unwrap_or("does not name the identity of this host");
            let error = format!("{DEFAULT_IDENTITY} {flaw}; nothing was sent");
            return Err(Error::new(ErrorKind::Environment, "invalid_managed_identity_id_type", error)
                .with_advice("set it, or name a user-assigned identity by its client id"));
        }
    };
    let mut url = endpoint_of(Source::MachineLearning, env)?;
    append(&mut url, "api-version", "2017-09-01");
    append(&mut url, "resource", request.resource);
    // Only this source spells the parameter without an underscore.
    append(&mut url, "clientid", &client_id);
    let mut built = Request::new(Method::GET, url, Route::Local);
    let secret = secret_of(Source::MachineLearning, env, "MSI_SECRET")?;
    built.headers_mut().extend([(HeaderName::from_static("secret"), secret), metadata_header()]);
    Ok(built)
}

/// docs/protocol/sources.md#cloud-shell
fn cloud_shell(request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    let url = endpoint_of(Source::CloudShell, env)?;
    let body = Serializer::new(String::new()).append_pair("resource", request.resource).finish();
    // The request returns a token and changes nothing.
    let mut built =
        Request::new(Method::POST, url, Route::Local).with_body(body).with_idempotence(Idempotence::Message);
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    built.headers_mut().extend([(CONTENT_TYPE, content_type), metadata_header()]);
    Ok(built)
}
