//! Issuing access tokens and ID tokens.

use serde_json::{Value, json};
use symbolon_types::Thumbprint;

use crate::calendar::{after, unix};
use crate::faults::FaultEffect;
use crate::random::guid;
use crate::state::{EmulatorState, Principal, TenantUser};

/// The contents of an access token.
pub(crate) struct TokenContents<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) subject: AccessTokenSubject<'a>,
    pub(crate) audience: &'a str,
    pub(crate) bound_to: Option<Thumbprint>,
    /// The claims that the request asked for.
    pub(crate) claims: Option<&'a Value>,
}

impl<'a> TokenContents<'a> {
    /// Returns the contents of a bearer token for an identity of the machine.
    pub(crate) fn of_principal(
        principal: Principal<'a>,
        audience: &'a str,
        state: &'a EmulatorState,
    ) -> Self {
        Self {
            tenant: &state.machine.tenant_id,
            client_id: principal.client_id,
            subject: AccessTokenSubject::Client(principal.object_id),
            audience,
            bound_to: None,
            claims: None,
        }
    }
}

/// The subject of an access token.
#[derive(Clone, Copy)]
pub(crate) enum AccessTokenSubject<'a> {
    /// The client itself, by its object id.
    Client(&'a str),
    /// A user, and the names of the scopes that the user granted to the client.
    User { user: &'a TenantUser, scopes: &'a str },
}

/// Signs an access token. Returns `None` if the signing key cannot be generated.
pub(crate) async fn sign_access_token(
    contents: &TokenContents<'_>,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Option<String> {
    let object_id = match contents.subject {
        AccessTokenSubject::Client(object_id) => object_id,
        AccessTokenSubject::User { user, .. } => &user.object_id,
    };
    let mut claims = common_claims(contents.tenant, contents.audience, object_id, state);
    claims["iss"] = state.access_token_issuer(contents.tenant).into();
    claims["appid"] = contents.client_id.into();
    if let AccessTokenSubject::User { user, scopes } = contents.subject {
        // Entra's v2.0 claims. Resources recognize a user's token by `scp`.
        claims["ver"] = "2.0".into();
        claims["azp"] = contents.client_id.into();
        claims["scp"] = scopes.into();
        claims["preferred_username"] = user.name.as_str().into();
    }
    if let Some(certificate) = contents.bound_to {
        let confirmed = match effect {
            FaultEffect::WrongConfirmation => Thumbprint::of(b"another certificate"),
            _ => certificate,
        };
        // RFC 8705 §3.1.
        claims["cnf"] = json!({ "x5t#S256": confirmed.to_string() });
    }
    if let Some(requested) = contents.claims {
        claims["claims_request"] = requested.clone();
        let capabilities = &requested["access_token"]["xms_cc"]["values"];
        if !capabilities.is_null() {
            claims["xms_cc"] = capabilities.clone();
        }
    }
    let token = state.signer.key().await?.sign(&claims)?;
    state.audiences.insert(contents.audience.to_owned());
    Some(token)
}

/// Signs an ID token with Entra's v2.0 claims (OpenID Connect Core 1.0 §2). Returns `None` if the
/// signing key cannot be generated.
pub(crate) async fn sign_id_token(
    tenant: &str,
    client_id: &str,
    user: &TenantUser,
    state: &EmulatorState,
) -> Option<String> {
    let mut claims = common_claims(tenant, client_id, &user.object_id, state);
    claims["iss"] = state.urls.issuer(tenant).into();
    claims["preferred_username"] = user.name.as_str().into();
    claims["ver"] = "2.0".into();
    state.signer.key().await?.sign(&claims)
}

fn common_claims(tenant: &str, audience: &str, object_id: &str, state: &EmulatorState) -> Value {
    let now = state.clock.now();
    json!({
        "aud": audience,
        "sub": object_id,
        "oid": object_id,
        "tid": tenant,
        "iat": unix(now),
        "nbf": unix(now),
        "exp": unix(after(now, state.settings.token_lifetime)),
        "uti": guid(),
    })
}

/// Removes the member that a fault omits from a token response.
pub(crate) fn remove_member(body: &mut Value, effect: &FaultEffect) {
    let member = match effect {
        FaultEffect::WithoutTokenType => "token_type",
        FaultEffect::WithoutAccessToken => "access_token",
        _ => return,
    };
    if let Some(members) = body.as_object_mut() {
        members.remove(member);
    }
}
