//! Tokens about users: on behalf of one whose token another client sent, and by refresh token.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use crate::assertion::is_alive;
use crate::client::Client;
use crate::credential::Form;
use crate::fault::Effect;
use crate::grant::{Subject, mint_id_token};
use crate::jwt::Jws;
use crate::oauth::Refusal;
use crate::refresh::Offline;
use crate::refusals;
use crate::scope::Scopes;
use crate::state::State;
use crate::user::User;

/// The grant type of Entra's on-behalf-of (RFC 7523 §2.1).
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The user of an access token of this service that was sent to this client.
pub(crate) async fn on_behalf_of(form: &Form, client: &Client<'_>, state: &State) -> Result<User, Refusal> {
    if form.value("requested_token_use") != Some("on_behalf_of") {
        return Err(refusals::TOKEN_USE);
    }
    let assertion = form.value("assertion").ok_or(refusals::NO_USER_ASSERTION)?;
    let key = state.signer.key().await.ok_or(refusals::SIGNING)?;
    let claims = Jws::parse(assertion).and_then(|assertion| key.verify(&assertion));
    let claims = claims.filter(|claims| claims["iss"] == state.urls.issuer(client.tenant));
    let claims = claims.ok_or(refusals::USER_ASSERTION)?;
    if claims["aud"] != client.id && claims["aud"] != format!("api://{}", client.id) {
        return Err(refusals::USER_ASSERTION_AUDIENCE);
    }
    if !is_alive(&claims, state) {
        return Err(refusals::USER_ASSERTION_EXPIRED);
    }
    // This client cannot prove possession of what it was bound to.
    if !claims["cnf"].is_null() {
        return Err(refusals::USER_ASSERTION_BOUND);
    }
    User::of(&claims).ok_or(refusals::NO_USER)
}

/// The user of a refresh token of this client, and what it was issued for.
pub(crate) fn refresh(form: &Form, client: &Client<'_>, state: &State) -> Result<Offline, Refusal> {
    let token = form.value("refresh_token").ok_or(refusals::NO_REFRESH_TOKEN)?;
    state.refresh_tokens.redeem(token, client.id, state.clock.now())
}

/// The body of an answer with a token about this user.
pub(crate) async fn body(
    user: User,
    scope: &str,
    form: &Form,
    client: &Client<'_>,
    effect: &Effect,
    state: &State,
) -> Result<Value, Refusal> {
    let scopes = Scopes::parse(scope)?;
    let subject = Subject::User { user: &user, scopes: &scopes.claim() };
    let mut body = client.body(subject, scopes.resource, effect, state).await?;
    body["scope"] = scopes.granted().into();
    if form.value("client_info") == Some("1") {
        // Who the user is at home, whichever tenant the token is of.
        let info = json!({ "uid": user.object_id, "utid": state.machine.tenant_id });
        body["client_info"] = Base64UrlUnpadded::encode_string(info.to_string().as_bytes()).into();
    }
    if scopes.identifies {
        let id_token = mint_id_token(client.tenant, client.id, &user, state).await;
        body["id_token"] = id_token.ok_or(refusals::SIGNING)?.into();
    }
    if scopes.offline {
        let offline = Offline { user, scope: scope.to_owned() };
        let token = state.refresh_tokens.issue(client.id, offline, state.clock.now());
        body["refresh_token"] = token.ok_or(refusals::SIGNING)?.into();
    }
    Ok(body)
}
