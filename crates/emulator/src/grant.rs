//! What an access token says.

use serde_json::{Value, json};
use symbolon_types::Thumbprint;

use crate::calendar::{after, unix};
use crate::fault::Effect;
use crate::random::guid;
use crate::state::State;

/// What a token says.
pub(crate) struct Grant<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) object_id: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) bound_to: Option<Thumbprint>,
    pub(crate) claims: Option<&'a Value>,
}

/// Signs a token. `None` when the machine cannot.
pub(crate) async fn mint(grant: &Grant<'_>, effect: &Effect, state: &State) -> Option<String> {
    let now = state.clock.now();
    let mut claims = json!({
        "iss": state.urls.issuer(grant.tenant),
        "aud": grant.audience,
        "sub": grant.object_id,
        "oid": grant.object_id,
        "appid": grant.client_id,
        "tid": grant.tenant,
        "iat": unix(now),
        "nbf": unix(now),
        "exp": unix(after(now, state.settings.token_lifetime)),
        "uti": guid(),
    });
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
