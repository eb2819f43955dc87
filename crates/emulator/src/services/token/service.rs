//! The token service: its paths, its metadata, and the grants of its token endpoint.

use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};
use serde_json::json;

use crate::faults::FaultEffect;
use crate::protocol::{ParsedRequest, Reply, Step, TokenError, scope};
use crate::services::access_token::{AccessTokenSubject, remove_member};
use crate::services::token::assertion;
use crate::services::token::client::AuthenticatedClient;
use crate::services::token::credential::{TokenForm, decode_basic};
use crate::services::token::delegated;
use crate::state::{EmulatorState, IdField, RefreshGrant};

/// Path of the token endpoint under a tenant (Entra v2.0).
const TOKEN: &str = "/oauth2/v2.0/token";
/// Path of the keys under a tenant (Entra v2.0).
const KEYS: &str = "/discovery/v2.0/keys";
/// Path of the metadata under a tenant (OpenID Connect Discovery 1.0 §4).
const CONFIGURATION: &str = "/v2.0/.well-known/openid-configuration";
/// Path of the sign-in page under a tenant (Entra v2.0).
const SIGN_IN: &str = "/oauth2/v2.0/authorize";
/// Entra's on-behalf-of (RFC 7523 §2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 6749 §6.
const REFRESH_TOKEN: &str = "refresh_token";
/// A federated identity credential of a user (docs/protocol/token-request.md#agent-identities).
const USER_FIC: &str = "user_fic";
/// The grant types that the token endpoint supports.
const GRANT_TYPES: [&str; 4] = ["client_credentials", JWT_BEARER, REFRESH_TOKEN, USER_FIC];

/// Returns the step of a path.
pub(crate) fn step(path: &str) -> Step {
    match split_tenant(path) {
        Some((_, TOKEN)) => Step::Token,
        Some((_, KEYS | CONFIGURATION)) => Step::Discovery,
        _ => Step::Unknown,
    }
}

/// Splits a path into the tenant and the rest.
fn split_tenant(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    path.find('/').map(|end| path.split_at(end)).filter(|(tenant, _)| !tenant.is_empty())
}

pub(crate) async fn reply(
    step: Step,
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Reply {
    let method = if step == Step::Token { Method::POST } else { Method::GET };
    let Some((tenant, path)) = split_tenant(&request.path).filter(|_| step != Step::Unknown) else {
        return Reply::refusal(StatusCode::NOT_FOUND, "not_found", "unknown_path", "Unknown path.");
    };
    if !state.declarations().accept_tenant(tenant) {
        return TokenError::UNKNOWN_TENANT.reply(request, state.clock.now());
    }
    if request.method != method {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Reply::refusal(status, "invalid_request", "method", "Wrong HTTP method.");
    }
    let reply = match path {
        KEYS => keys(state).await,
        CONFIGURATION => Ok(configuration(tenant, state)),
        _ => token(tenant, request, effect, state).await,
    };
    reply.unwrap_or_else(|error| error.reply(request, state.clock.now()))
}

async fn keys(state: &EmulatorState) -> Result<Reply, TokenError> {
    let key = state.signer.key().await.ok_or(TokenError::SIGNING)?;
    Ok(Reply::ok(&json!({ "keys": [key.jwk()] })))
}

fn configuration(tenant: &str, state: &EmulatorState) -> Reply {
    let base = &state.urls.token;
    Reply::ok(&json!({
        "issuer": state.urls.issuer(tenant),
        "token_endpoint": format!("{base}/{tenant}{TOKEN}"),
        "jwks_uri": format!("{base}/{tenant}{KEYS}"),
        // The path answers 404, but OpenID Connect Discovery 1.0 §3 requires the member, and MSAL
        // rejects metadata without it.
        "authorization_endpoint": format!("{base}/{tenant}{SIGN_IN}"),
        "grant_types_supported": GRANT_TYPES,
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt", "tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": true,
        "response_types_supported": ["token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn token(
    tenant: &str,
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Result<Reply, TokenError> {
    // Entra issues application tokens only for a named tenant.
    if matches!(tenant, "common" | "organizations") {
        return Err(TokenError::TENANT);
    }
    if !request.has_content_type("application/x-www-form-urlencoded") {
        return Err(TokenError::CONTENT_TYPE);
    }
    let form = TokenForm::new(request)?;
    let grant_type = form.value("grant_type").filter(|grant_type| GRANT_TYPES.contains(grant_type));
    let grant_type = grant_type.ok_or(TokenError::GRANT_TYPE)?;
    let basic = request
        .header("authorization")
        .map(|value| decode_basic(value).ok_or(TokenError::BASIC))
        .transpose()?;
    let client_id = form.value("client_id").or(basic.as_ref().map(|(id, _)| id.as_str()));
    let client_id = client_id.ok_or(TokenError::CLIENT_ID)?;
    let client =
        AuthenticatedClient::authenticate(tenant, client_id, &form, basic.as_ref(), request, state).await?;
    let scope = form.value("scope");
    let mut body = match grant_type {
        JWT_BEARER => {
            let user = delegated::assertion_user(&form, &client, state).await?;
            delegated::token_body(user, scope.unwrap_or_default(), &form, &client, effect, state).await?
        }
        REFRESH_TOKEN => {
            let RefreshGrant { user, scope: granted } = delegated::refresh_grant(&form, &client, state)?;
            // RFC 6749 §6: without a scope, the scope granted before.
            delegated::token_body(user, scope.unwrap_or(&granted), &form, &client, effect, state).await?
        }
        USER_FIC => {
            let user = delegated::federated_user(&form, &client, state).await?;
            delegated::token_body(user, scope.unwrap_or_default(), &form, &client, effect, state).await?
        }
        _ => {
            let resource = scope.and_then(scope::resource).ok_or(TokenError::SCOPE)?;
            // An application has no object id here; its client id takes the place.
            let principal = state.machine.find(IdField::Client, client_id);
            let object_id = principal.map_or(client_id, |principal| principal.object_id);
            let subject = match form.value("fmi_path") {
                Some(path) => assertion::child_subject(tenant, client_id, path),
                None => object_id.to_owned(),
            };
            client.token_body(AccessTokenSubject::Client(&subject), resource, effect, state).await?
        }
    };
    remove_member(&mut body, effect);
    Ok(Reply::ok(&body).header(CACHE_CONTROL, "no-store"))
}
