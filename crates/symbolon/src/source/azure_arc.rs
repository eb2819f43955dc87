//! Azure Arc: the agent on a machine outside of Azure. It requires proof that the caller runs on
//! the same machine. (docs/protocol/sources.md#azure-arc)

mod agent;
mod challenge;

use std::path::Path;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use symbolon_token::{Error, ErrorKind, IssuedToken};
use symbolon_transport::{Request, Response, Route};
use symbolon_types::{Env, IdKind, Source};

pub(crate) use self::agent::ArcAgent;
use super::client::SourceClient;
use super::endpoint::{append, endpoint_of, metadata_header};
use super::request::SourceRequest;

/// Requests a token. The first response is a challenge that names a file; the second request sends
/// the content of that file.
pub(super) async fn token(
    request: &SourceRequest<'_>,
    env: &Env,
    directory: Option<&Path>,
    client: &SourceClient<'_>,
) -> Result<(IssuedToken, usize), Error> {
    let mut http_request = http_request(request, env)?;
    let mut sent = client.send(&http_request).await?;
    if sent.response.status() == StatusCode::UNAUTHORIZED {
        let authorization = challenge::authorization(&sent.response, directory)?;
        http_request.headers_mut().insert(AUTHORIZATION, authorization);
        let attempts = sent.attempts;
        sent = client.send(&http_request).await?;
        sent.attempts += attempts;
    }
    let token = client.token(&sent)?;
    check_identity(request, &sent.response)?;
    Ok(token)
}

fn http_request(request: &SourceRequest<'_>, env: &Env) -> Result<Request, Error> {
    let mut url = endpoint_of(Source::AzureArc, env)?;
    append(&mut url, "api-version", "2020-06-01");
    append(&mut url, "resource", request.resource);
    // Unlike App Service, the agent ignores `mi_res_id`.
    if let Some((name, value)) = request.id.imdsv1_parameter() {
        append(&mut url, name, value);
    }
    let mut built = Request::new(Method::GET, url, Route::Local);
    built.headers_mut().extend([metadata_header()]);
    Ok(built)
}

/// Checks that the token is for the requested user-assigned identity. An agent from before 2026
/// ignores the id and returns the machine's own token; a newer one names the identity in its
/// response.
fn check_identity(request: &SourceRequest<'_>, response: &Response) -> Result<(), Error> {
    let names: &[&str] = match request.id.kind() {
        IdKind::SystemAssigned => return Ok(()),
        IdKind::ClientId => &["client_id"],
        IdKind::ObjectId => &["object_id"],
        IdKind::ResourceId => &["msi_res_id", "mi_res_id"],
        _ => &[],
    };
    let body: Map<String, Value> = serde_json::from_slice(response.body()).unwrap_or_default();
    let confirmed = names.iter().find_map(|name| body.get(*name)).and_then(Value::as_str);
    let requested = request.id.value().unwrap_or_default();
    if confirmed.is_some_and(|confirmed| confirmed.eq_ignore_ascii_case(requested)) {
        return Ok(());
    }
    let error = "the Azure Arc agent did not confirm that its token is for the requested identity; \
                 the token was discarded";
    Err(Error::new(ErrorKind::Environment, "user_assigned_managed_identity_not_confirmed", error)
        .with_advice("use the system-assigned identity, or update the Azure Arc agent of this machine"))
}

#[cfg(test)]
mod tests {
    use symbolon_binding::ManagedIdentityId;
    use symbolon_types::CorrelationId;

    use super::*;

    fn source_request(id: &ManagedIdentityId) -> SourceRequest<'_> {
        SourceRequest {
            resource: "r",
            id,
            capabilities: &[],
            refused: None,
            correlation_id: CorrelationId::random(),
        }
    }

    /// An agent that was detected by its program alone.
    #[test]
    fn agent_has_a_default_endpoint() {
        let id = ManagedIdentityId::system_assigned();
        let built = http_request(&source_request(&id), &Env::empty()).unwrap();
        let expected =
            "http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&resource=r";
        assert_eq!(built.url().as_str(), expected);
    }

    #[test]
    fn agent_must_confirm_the_identity() {
        let client = ManagedIdentityId::client_id("AB-1").unwrap();
        let object = ManagedIdentityId::object_id("AB-1").unwrap();
        let resource = ManagedIdentityId::resource_id("/sub/AB-1").unwrap();
        for (id, body, is_confirmed) in [
            (&ManagedIdentityId::system_assigned(), r#"{"client_id":"x"}"#, true),
            (&client, r#"{"client_id":"ab-1"}"#, true),
            (&client, r#"{"client_id":"ab-2"}"#, false),
            (&client, r#"{"object_id":"AB-1"}"#, false),
            (&client, r#"{"client_id":["AB-1"]}"#, false),
            (&client, "{}", false),
            (&object, r#"{"object_id":"AB-1"}"#, true),
            (&resource, r#"{"msi_res_id":"/SUB/ab-1"}"#, true),
            (&resource, r#"{"mi_res_id":"/sub/AB-1"}"#, true),
            (&resource, r#"{"msi_res_id":"/sub/other","mi_res_id":"/sub/AB-1"}"#, false),
        ] {
            let checked = check_identity(&source_request(id), &Response::new(StatusCode::OK, body));
            assert_eq!(checked.is_ok(), is_confirmed, "{id:?} {body}");
            if let Err(error) = checked {
                assert_eq!(error.code(), "user_assigned_managed_identity_not_confirmed");
            }
        }
    }
}
