//! The token service: its paths, its metadata, and the grants of its token endpoint.

use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};
use serde_json::json;

use crate::client::Client;
use crate::credential::{Form, basic};
use crate::delegated::{self, JWT_BEARER};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::grant::{Subject, leave_out};
use crate::identity::IdKind;
use crate::oauth::Refusal;
use crate::refresh::Offline;
use crate::state::State;
use crate::step::Step;
use crate::{refusals, scope};

/// Path of the token endpoint under a tenant (Entra v2.0).
const TOKEN: &str = "/oauth2/v2.0/token";
/// Path of the keys under a tenant (Entra v2.0).
const KEYS: &str = "/discovery/v2.0/keys";
/// Path of the metadata under a tenant (OpenID Connect Discovery 1.0 §4).
const CONFIGURATION: &str = "/v2.0/.well-known/openid-configuration";
/// Where users would sign in (Entra v2.0).
const SIGN_IN: &str = "/oauth2/v2.0/authorize";
/// RFC 6749 §6.
const REFRESH_TOKEN: &str = "refresh_token";
/// All that the token endpoint knows.
const GRANT_TYPES: [&str; 3] = ["client_credentials", JWT_BEARER, REFRESH_TOKEN];

/// Which step a path belongs to.
pub(crate) fn step(path: &str) -> Step {
    match route(path) {
        Some((_, TOKEN)) => Step::Token,
        Some((_, KEYS | CONFIGURATION)) => Step::Discovery,
        _ => Step::Unknown,
    }
}

/// A path's tenant, and the rest.
fn route(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    path.find('/').map(|end| path.split_at(end)).filter(|(tenant, _)| !tenant.is_empty())
}

pub(crate) async fn answer(step: Step, exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let method = if step == Step::Token { Method::POST } else { Method::GET };
    let Some((tenant, path)) = route(&exchange.path).filter(|_| step != Step::Unknown) else {
        return Reply::refusal(StatusCode::NOT_FOUND, "not_found", "unknown_path", "There is nothing here.");
    };
    if exchange.method != method {
        return Reply::refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            "method",
            "Wrong HTTP method.",
        );
    }
    match path {
        KEYS => keys(exchange, state).await,
        CONFIGURATION => configuration(tenant, state),
        _ => token(tenant, exchange, effect, state)
            .await
            .unwrap_or_else(|refused| refused.reply(exchange, state)),
    }
}

async fn keys(exchange: &Exchange, state: &State) -> Reply {
    match state.signer.key().await {
        Some(key) => Reply::ok(&json!({ "keys": [key.jwk()] })),
        None => refusals::SIGNING.reply(exchange, state),
    }
}

fn configuration(tenant: &str, state: &State) -> Reply {
    let base = &state.urls.token;
    Reply::ok(&json!({
        "issuer": state.urls.issuer(tenant),
        "token_endpoint": format!("{base}/{tenant}{TOKEN}"),
        "jwks_uri": format!("{base}/{tenant}{KEYS}"),
        // There is nothing, but OpenID Connect Discovery 1.0 §3 requires it, and MSAL reads nothing without it.
        "authorization_endpoint": format!("{base}/{tenant}{SIGN_IN}"),
        "grant_types_supported": GRANT_TYPES,
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt", "tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": true,
        "response_types_supported": ["token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn token(tenant: &str, exchange: &Exchange, effect: &Effect, state: &State) -> Result<Reply, Refusal> {
    // Entra gives application tokens only where the tenant is named.
    if matches!(tenant, "common" | "organizations") {
        return Err(refusals::TENANT);
    }
    if !exchange.has_content_type("application/x-www-form-urlencoded") {
        return Err(refusals::CONTENT_TYPE);
    }
    let form = Form::new(exchange)?;
    let grant_type = form.value("grant_type").filter(|grant_type| GRANT_TYPES.contains(grant_type));
    let grant_type = grant_type.ok_or(refusals::GRANT_TYPE)?;
    let basic =
        exchange.header("authorization").map(|value| basic(value).ok_or(refusals::BASIC)).transpose()?;
    let client_id = form.value("client_id").or(basic.as_ref().map(|(id, _)| id.as_str()));
    let client_id = client_id.ok_or(refusals::CLIENT_ID)?;
    let client = Client::authenticated(tenant, client_id, &form, basic.as_ref(), exchange, state).await?;
    let scope = form.value("scope");
    let mut body = match grant_type {
        JWT_BEARER => {
            let user = delegated::on_behalf_of(&form, &client, state).await?;
            delegated::body(user, scope.unwrap_or_default(), &form, &client, effect, state).await?
        }
        REFRESH_TOKEN => {
            let Offline { user, scope: earlier } = delegated::refresh(&form, &client, state)?;
            // RFC 6749 §6: without a scope, what was granted before.
            delegated::body(user, scope.unwrap_or(&earlier), &form, &client, effect, state).await?
        }
        _ => {
            let resource = scope.and_then(scope::resource).ok_or(refusals::SCOPE)?;
            client.body(Subject::Client(object_id(client_id, state)), resource, effect, state).await?
        }
    };
    leave_out(&mut body, effect);
    Ok(Reply::ok(&body).header(CACHE_CONTROL, "no-store"))
}

fn object_id<'a>(client_id: &'a str, state: &'a State) -> &'a str {
    // An application has no object id here; its client id is as unique.
    state.machine.find(IdKind::Client, client_id).map_or(client_id, |known| known.object_id)
}
