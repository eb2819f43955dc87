//! The user account that a token is about.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::Value;

/// The user account that a token is about. Clones are cheap.
///
/// It names the user whose tokens are requested. It is no proof of a sign-in to your own program
/// after the time of the response: the expiry of the ID token is not checked.
///
/// Store its [`id`](Self::id) to request the user's tokens again later.
#[derive(Clone, PartialEq, Eq)]
pub struct Account(Arc<AccountParts>);

#[derive(PartialEq, Eq)]
struct AccountParts {
    id: String,
    username: Option<String>,
    tenant_id: Option<String>,
}

/// Entra's `client_info` (`docs/protocol/token-request.md#response`).
#[derive(Deserialize)]
struct ClientInfo {
    uid: Option<String>,
    utid: Option<String>,
}

impl Account {
    /// Returns the account of a token response: Entra's `uid.utid`, else the `sub` of the ID token.
    ///
    /// The caller has checked the audience of the ID token. Its signature, issuer and expiry are
    /// not verified, for the reasons in `docs/protocol/token-request.md#id-tokens`.
    pub(crate) fn of(client_info: Option<&str>, id_token: Option<&str>) -> Option<Self> {
        let claims = id_token.and_then(jwt_payload);
        let claim = |name: &str| claims.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let info: Option<ClientInfo> = client_info.and_then(decode_json);
        let id = match info {
            Some(ClientInfo { uid: Some(uid), utid: Some(utid) }) => format!("{uid}.{utid}"),
            _ => claim("sub")?,
        };
        Some(Self::new(id, claim("preferred_username"), claim("tid")))
    }

    /// Creates the account with this [`id`](Self::id).
    #[must_use]
    pub fn from_id(id: impl Into<String>) -> Self {
        Self::new(id, None, None)
    }

    /// Creates the account with this [`id`](Self::id), user name and tenant.
    #[must_use]
    pub fn new(id: impl Into<String>, username: Option<String>, tenant_id: Option<String>) -> Self {
        Self(Arc::new(AccountParts { id: id.into(), username, tenant_id }))
    }

    /// Returns the id, which identifies the account in requests for its tokens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the sign-in name, if the ID token has one. Use it for display only: a name can be
    /// reassigned to another user.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.0.username.as_deref()
    }

    /// Returns the tenant in which the user signed in.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.tenant_id.as_deref()
    }
}

// Hides the user.
symbolon_types::debug_fields!(Account);

/// Returns the unverified claims of a signed JWT (RFC 7519); `None` for any other text.
pub(crate) fn jwt_payload(token: &str) -> Option<Value> {
    let [_header, payload, _signature] = *token.split('.').collect::<Vec<_>>() else { return None };
    decode_json::<Value>(payload).filter(Value::is_object)
}

fn decode_json<T: serde::de::DeserializeOwned>(base64url: &str) -> Option<T> {
    let bytes = Base64UrlUnpadded::decode_vec(base64url.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> String {
        Base64UrlUnpadded::encode_string(json.as_bytes())
    }

    #[test]
    fn account_id_comes_from_client_info_or_sub() {
        let info = encoded(r#"{"uid":"u","utid":"t"}"#);
        let jwt = |json| format!("e30.{}.c2ln", encoded(json));
        let id_token = jwt(r#"{"sub":"s","preferred_username":"user@contoso.example","tid":"tenant"}"#);
        let id = |info: Option<&str>, token: Option<&str>| {
            Account::of(info, token).map(|account| account.id().to_owned())
        };
        assert_eq!(id(Some(&info), Some(&id_token)).as_deref(), Some("u.t"));
        assert_eq!(id(None, Some(&id_token)).as_deref(), Some("s"));
        assert_eq!(id(Some(&encoded("{}")), Some(&id_token)).as_deref(), Some("s"));
        assert_eq!(id(Some("???"), None), None);
        assert_eq!(id(None, Some("opaque")), None);
        let account = Account::of(None, Some(&id_token)).unwrap();
        assert_eq!((account.username(), account.tenant_id()), (Some("user@contoso.example"), Some("tenant")));
        assert_eq!(format!("{account:?}"), "Account { .. }");
    }
}
