//! The user that a token is about.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::Value;

/// The user that a token is about, as the token service names them. Clones are cheap.
///
/// Its [`id`](Self::id) is what to keep in order to ask for the user's tokens again.
#[derive(Clone, PartialEq, Eq)]
pub struct Account(Arc<AccountParts>);

#[derive(PartialEq, Eq)]
struct AccountParts {
    id: String,
    username: Option<String>,
    tenant_id: Option<String>,
}

/// What Entra says with `client_info=1`.
#[derive(Deserialize)]
struct ClientInfo {
    uid: Option<String>,
    utid: Option<String>,
}

impl Account {
    /// The account of a token response: Entra's `uid.utid`, else the subject of the ID token.
    ///
    /// The ID token came from the token endpoint itself, over TLS, so its signature need not be
    /// verified (OIDC Core §3.1.3.7).
    pub(crate) fn of(client_info: Option<&str>, id_token: Option<&str>) -> Option<Self> {
        let claims = id_token.and_then(jwt_payload);
        let claim = |name: &str| claims.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let info: Option<ClientInfo> = client_info.and_then(json_of);
        let id = match info {
            Some(ClientInfo { uid: Some(uid), utid: Some(utid) }) => format!("{uid}.{utid}"),
            _ => claim("sub")?,
        };
        Some(Self(Arc::new(AccountParts {
            id,
            username: claim("preferred_username"),
            tenant_id: claim("tid"),
        })))
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

    /// Names the account in requests for its tokens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// How the user signs in, where the ID token says so. For display: it may change hands.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.0.username.as_deref()
    }

    /// The tenant in which the user signed in.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.tenant_id.as_deref()
    }
}

/// Hides who it is.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

/// The claims of a signed JWT (RFC 7519), unverified; `None` for anything else.
pub(crate) fn jwt_payload(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    json_of::<Value>(payload).filter(Value::is_object)
}

fn json_of<T: serde::de::DeserializeOwned>(base64url: &str) -> Option<T> {
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
    fn the_account_is_named_by_entra_or_by_the_id_token() {
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
        assert_eq!(format!("{account:?}"), "Account");
    }
}
