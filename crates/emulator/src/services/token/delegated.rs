//! Users' tokens: on behalf of a user, by federated identity credential, and by refresh token.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use crate::faults::FaultEffect;
use crate::protocol::{CompactJws, DelegatedScopes, TokenError};
use crate::services::access_token::{AccessTokenSubject, sign_id_token};
use crate::services::token::assertion::{is_current, is_exchange_token_of};
use crate::services::token::client::AuthenticatedClient;
use crate::services::token::credential::TokenForm;
use crate::state::{EmulatorState, RefreshGrant, TenantUser};

/// Returns the user of an on-behalf-of request: the subject of an access token for this client.
pub(super) async fn assertion_user(
    form: &TokenForm,
    client: &AuthenticatedClient<'_>,
    state: &EmulatorState,
) -> Result<TenantUser, TokenError> {
    if form.value("requested_token_use") != Some("on_behalf_of") {
        return Err(TokenError::TOKEN_USE);
    }
    let assertion = form.value("assertion").ok_or(TokenError::NO_USER_ASSERTION)?;
    let key = state.signer.key().await.ok_or(TokenError::SIGNING)?;
    let claims = CompactJws::parse(assertion).and_then(|assertion| key.verify(&assertion));
    let claims = claims.filter(|claims| claims["iss"] == state.access_token_issuer(client.tenant));
    let claims = claims.ok_or(TokenError::USER_ASSERTION)?;
    if claims["aud"] != client.id && claims["aud"] != format!("api://{}", client.id) {
        return Err(TokenError::USER_ASSERTION_AUDIENCE);
    }
    if !is_current(&claims, state) {
        return Err(TokenError::USER_ASSERTION_EXPIRED);
    }
    // This client cannot prove possession of another client's key.
    if !claims["cnf"].is_null() {
        return Err(TokenError::USER_ASSERTION_BOUND);
    }
    TenantUser::from_claims(&claims).ok_or(TokenError::NO_USER)
}

/// Returns the user whom a federated identity credential of the client names.
pub(super) async fn federated_user(
    form: &TokenForm,
    client: &AuthenticatedClient<'_>,
    state: &EmulatorState,
) -> Result<TenantUser, TokenError> {
    let credential = form.value("user_federated_identity_credential");
    let credential = credential.ok_or(TokenError::NO_FEDERATED_CREDENTIAL)?;
    let key = state.signer.key().await.ok_or(TokenError::SIGNING)?;
    let claims = CompactJws::parse(credential).and_then(|credential| key.verify(&credential));
    let is_valid =
        claims.is_some_and(|claims| is_exchange_token_of(&claims, client.id) && is_current(&claims, state));
    if !is_valid {
        return Err(TokenError::FEDERATED_CREDENTIAL);
    }
    match (form.value("user_id"), form.value("username")) {
        (Some(id), None) => {
            Ok(TenantUser { object_id: id.to_owned(), name: format!("{id}@{}", client.tenant) })
        }
        (None, Some(name)) => Ok(TenantUser::named(name, client.tenant)),
        _ => Err(TokenError::FEDERATED_USER),
    }
}

/// Returns the grant of the request's refresh token.
pub(super) fn refresh_grant(
    form: &TokenForm,
    client: &AuthenticatedClient<'_>,
    state: &EmulatorState,
) -> Result<RefreshGrant, TokenError> {
    let token = form.value("refresh_token").ok_or(TokenError::NO_REFRESH_TOKEN)?;
    state.refresh_tokens.redeem(token, client.id, state.clock.now())
}

/// Returns the body of a response with a user's token.
pub(super) async fn token_body(
    user: TenantUser,
    scope: &str,
    form: &TokenForm,
    client: &AuthenticatedClient<'_>,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Result<Value, TokenError> {
    let scopes = DelegatedScopes::parse(scope)?;
    let subject = AccessTokenSubject::User { user: &user, scopes: &scopes.claim() };
    let mut body = client.token_body(subject, scopes.resource, effect, state).await?;
    body["scope"] = scopes.granted().into();
    if form.value("client_info") == Some("1") {
        // The user's home tenant, even if the token belongs to another one.
        let info = json!({ "uid": user.object_id, "utid": state.machine.tenant_id });
        body["client_info"] = Base64UrlUnpadded::encode_string(info.to_string().as_bytes()).into();
    }
    if scopes.with_id_token {
        let id_token = sign_id_token(client.tenant, client.id, &user, state).await;
        body["id_token"] = id_token.ok_or(TokenError::SIGNING)?.into();
    }
    if scopes.with_refresh_token {
        let grant = RefreshGrant { user, scope: scope.to_owned() };
        let token = state.refresh_tokens.issue(client.id, grant, state.clock.now());
        body["refresh_token"] = token.ok_or(TokenError::SIGNING)?.into();
    }
    Ok(body)
}
