//! The token service: client credentials by certificate, by bound assertion or by secret.

use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::credential::{Credential, Form, basic};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::grant::{Grant, leave_out, mint};
use crate::identity::IdKind;
use crate::oauth::Refusal;
use crate::refusals;
use crate::state::State;
use crate::step::Step;

/// Path of the token endpoint under a tenant (Entra v2.0).
const TOKEN: &str = "/oauth2/v2.0/token";
/// Path of the keys under a tenant (Entra v2.0).
const KEYS: &str = "/discovery/v2.0/keys";
/// Path of the metadata under a tenant (OpenID Connect Discovery 1.0 §4).
const CONFIGURATION: &str = "/v2.0/.well-known/openid-configuration";
/// What a scope of the client credentials grant ends in (Entra v2.0).
const DEFAULT_SCOPE: &str = "/.default";
/// The token type of certificate-bound tokens (IMDSv2: token leg).
const MTLS_POP: &str = "mtls_pop";

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
        "grant_types_supported": ["client_credentials"],
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
    if form.value("grant_type") != Some("client_credentials") {
        return Err(refusals::GRANT_TYPE);
    }
    let basic =
        exchange.header("authorization").map(|value| basic(value).ok_or(refusals::BASIC)).transpose()?;
    let client_id = form.value("client_id").or(basic.as_ref().map(|(id, _)| id.as_str()));
    let client_id = client_id.ok_or(refusals::CLIENT_ID)?;
    let resource = form.value("scope").and_then(resource).ok_or(refusals::SCOPE)?;
    let claims = form.value("claims").map(claims).transpose()?;

    let bound = match form.value("token_type") {
        Some(MTLS_POP) => true,
        Some(_) => return Err(refusals::TOKEN_TYPE),
        None => false,
    };
    let credential = Credential::read(&form, basic.as_ref(), bound)?;
    let bound_to = credential.check(tenant, client_id, exchange, state).await?.filter(|_| bound);

    let token_type = if bound_to.is_some() { MTLS_POP } else { "Bearer" };
    let downgraded = matches!(effect, Effect::DowngradeToBearer);
    let grant = Grant {
        tenant,
        client_id,
        object_id: object_id(client_id, state),
        audience: resource,
        bound_to: bound_to.filter(|_| !downgraded),
        claims: claims.as_ref(),
    };
    let access_token = mint(&grant, effect, state).await.ok_or(refusals::SIGNING)?;
    let mut body = json!({
        "token_type": if downgraded { "Bearer" } else { token_type },
        "expires_in": state.settings.token_lifetime.as_secs(),
        "access_token": access_token,
    });
    if let Some(refresh_in) = state.settings.refresh_in {
        body["refresh_in"] = Value::from(refresh_in.as_secs());
    }
    leave_out(&mut body, effect);
    Ok(Reply::ok(&body).header(CACHE_CONTROL, "no-store"))
}

/// The resource of a scope that ends in exactly one `/.default`.
fn resource(scope: &str) -> Option<&str> {
    let resource = scope.strip_suffix(DEFAULT_SCOPE)?;
    let one = !resource.is_empty() && !resource.contains(' ') && !resource.ends_with(DEFAULT_SCOPE);
    one.then_some(resource)
}

fn claims(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).ok().filter(Value::is_object).ok_or(refusals::CLAIMS)
}

fn object_id<'a>(client_id: &'a str, state: &'a State) -> &'a str {
    // An application has no object id here; its client id is as unique.
    state.machine.find(IdKind::Client, client_id).map_or(client_id, |known| known.object_id)
}
