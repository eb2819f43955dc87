//! What an access token says.

use serde_json::{Value, json};
use symbolon_types::Thumbprint;

use crate::calendar::{after, unix};
use crate::fault::Effect;
use crate::random::guid;
use crate::state::State;
use crate::user::User;

/// What a token says.
pub(crate) struct Grant<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) subject: Subject<'a>,
    pub(crate) audience: &'a str,
    pub(crate) bound_to: Option<Thumbprint>,
    pub(crate) claims: Option<&'a Value>,
}

/// Whom a token is about.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The client itself, by its object id.
    Client(&'a str),
    /// A user, and what they let the client do: the names of the scopes.
    User { user: &'a User, scopes: &'a str },
}

impl Subject<'_> {
    fn object_id(&self) -> &str {
        match self {
            Self::Client(object_id) => object_id,
            Self::User { user, .. } => &user.object_id,
        }
    }
}

/// Signs a token. `None` when the machine cannot.
pub(crate) async fn mint(grant: &Grant<'_>, effect: &Effect, state: &State) -> Option<String> {
    let now = state.clock.now();
    let mut claims = json!({
        "iss": state.urls.issuer(grant.tenant),
        "aud": grant.audience,
        "sub": grant.subject.object_id(),
        "oid": grant.subject.object_id(),
        "appid": grant.client_id,
        "tid": grant.tenant,
        "iat": unix(now),
        "nbf": unix(now),
        "exp": unix(after(now, state.settings.token_lifetime)),
        "uti": guid(),
    });
    if let Subject::User { user, scopes } = grant.subject {
        // Entra's v2.0 claims; that it has `scp` is how others, too, tell a user's token from an application's.
        claims["ver"] = "2.0".into();
        claims["azp"] = grant.client_id.into();
        claims["scp"] = scopes.into();
        claims["preferred_username"] = user.name.as_str().into();
    }
    if let Some(certificate) = grant.bound_to {
        let confirmed = match effect {
            Effect::WrongConfirmation => Thumbprint::of(b"another certificate"),
            _ => certificate,
        };
        // RFC 8705 §3.1.
        claims["cnf"] = json!({ "x5t#S256": confirmed.to_string() });
    }
    if let Some(requested) = grant.claims {
        claims["claims_request"] = requested.clone();
        let capabilities = &requested["access_token"]["xms_cc"]["values"];
        if !capabilities.is_null() {
            claims["xms_cc"] = capabilities.clone();
        }
    }
    let token = state.signer.key().await?.sign(&claims)?;
    state.audiences.insert(grant.audience.to_owned());
    Some(token)
}

/// Signs what tells the client who the user is (OIDC Core §2, with Entra's v2.0 claims).
pub(crate) async fn mint_id_token(
    tenant: &str,
    client_id: &str,
    user: &User,
    state: &State,
) -> Option<String> {
    let now = state.clock.now();
    let claims = json!({
        "iss": state.urls.issuer(tenant),
        "aud": client_id,
        "sub": user.object_id,
        "oid": user.object_id,
        "tid": tenant,
        "preferred_username": user.name,
        "ver": "2.0",
        "iat": unix(now),
        "nbf": unix(now),
        "exp": unix(after(now, state.settings.token_lifetime)),
        "uti": guid(),
    });
    state.signer.key().await?.sign(&claims)
}

/// Takes out of a token answer what a fault leaves out.
pub(crate) fn leave_out(body: &mut Value, effect: &Effect) {
    let member = match effect {
        Effect::WithoutTokenType => "token_type",
        Effect::WithoutAccessToken => "access_token",
        _ => return,
    };
    if let Some(members) = body.as_object_mut() {
        members.remove(member);
    }
}
