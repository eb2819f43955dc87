//! Azure Arc: a machine outside of Azure, whose agent asks for proof that the caller runs on it.

mod agent;
mod challenge;

use std::path::Path;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use symbolon_binding::IdKind;
use symbolon_token::{Error, ErrorKind, Fetched};
use symbolon_transport::{Request, Response, Route};
use symbolon_types::Env;
use url::Url;

pub(crate) use self::agent::ArcAgent;
use crate::Source;
use crate::source::endpoint::{self, append, metadata_header};
use crate::source::exchange::Exchange;
use crate::source::{Question, api_version};

/// Where the agent listens unless the variable says otherwise (MSAL.NET `AzureArcManagedIdentitySource`).
const ENDPOINT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const ENDPOINT_VARIABLE: &str = "IDENTITY_ENDPOINT";

/// Asks twice: the first answer names a file, and the second request shows what is in it.
pub(crate) async fn token(
    question: &Question<'_>,
    env: &Env,
    tokens: Option<&Path>,
    exchange: &Exchange<'_>,
) -> Result<(Fetched, usize), Error> {
    let mut request = request(question, env)?;
    let mut sent = exchange.send(&request).await?;
    if sent.response.status() == StatusCode::UNAUTHORIZED {
        let answer = challenge::answer(&sent.response, tokens)?;
        request.headers_mut().insert(AUTHORIZATION, answer);
        let attempts = sent.attempts;
        sent = exchange.send(&request).await?;
        sent.attempts += attempts;
    }
    let token = exchange.token(&sent)?;
    confirm(question, &sent.response)?;
    Ok(token)
}

fn request(question: &Question<'_>, env: &Env) -> Result<Request, Error> {
    let mut url = match env.var(ENDPOINT_VARIABLE) {
        Some(text) => endpoint::parse(Source::AzureArc, ENDPOINT_VARIABLE, &text)?,
        None => Url::parse(ENDPOINT).map_err(|_| endpoint::invalid(Source::AzureArc, ENDPOINT_VARIABLE))?,
    };
    append(&mut url, "api-version", api_version::AZURE_ARC);
    append(&mut url, "resource", question.resource);
    // Other than at App Service: the agent ignores `mi_res_id`.
    if let Some((name, value)) = question.id.imdsv1_parameter() {
        append(&mut url, name, value);
    }
    let mut request = Request::new(Method::GET, url, Route::Local);
    let (name, value) = metadata_header();
    request.headers_mut().insert(name, value);
    Ok(request)
}

/// An agent from before 2026 ignores which identity is asked for, and gives the machine's own. A newer one
/// says whose token it is; without that, the token is discarded (managed-identity sources §2.5.3).
fn confirm(question: &Question<'_>, response: &Response) -> Result<(), Error> {
    let names: &[&str] = match question.id.kind() {
        IdKind::SystemAssigned => return Ok(()),
        IdKind::ClientId => &["client_id"],
        IdKind::ObjectId => &["object_id"],
        IdKind::ResourceId => &["msi_res_id", "mi_res_id"],
        _ => &[],
    };
    let said: Map<String, Value> = serde_json::from_slice(response.body()).unwrap_or_default();
    let said = names.iter().find_map(|name| said.get(*name)).and_then(Value::as_str);
    let asked = question.id.value().unwrap_or_default();
    if said.is_some_and(|said| said.eq_ignore_ascii_case(asked)) {
        return Ok(());
    }
    let error = "the Azure Arc agent did not confirm that its token is for the identity that was asked for; \
                 the token was discarded";
    Err(Error::new(ErrorKind::Environment, "user_assigned_managed_identity_not_confirmed", error)
        .with_advice("use the system-assigned identity, or update the Azure Arc agent of this machine"))
}

#[cfg(test)]
mod tests {
    use symbolon_binding::ManagedIdentityId;
    use symbolon_types::CorrelationId;

    use super::*;

    fn question(id: &ManagedIdentityId) -> Question<'_> {
        Question {
            resource: "r",
            id,
            capabilities: &[],
            refused: None,
            correlation_id: CorrelationId::random(),
        }
    }

    /// The table of §2.5.1: an agent that was found by its program alone.
    #[test]
    fn without_a_variable_the_agent_is_asked_where_it_listens() {
        let id = ManagedIdentityId::system_assigned();
        let asked = request(&question(&id), &Env::empty()).unwrap();
        let expected =
            "http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&resource=r";
        assert_eq!(asked.url().as_str(), expected);
    }

    /// GO-16, GO-17, §7.7.10.
    #[test]
    fn a_token_counts_only_for_the_identity_that_the_agent_says() {
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
            let confirmed = confirm(&question(id), &Response::new(StatusCode::OK, body));
            assert_eq!(confirmed.is_ok(), is_confirmed, "{id:?} {body}");
            if let Err(error) = confirmed {
                assert_eq!(error.code(), "user_assigned_managed_identity_not_confirmed");
            }
        }
    }
}
