//! The users of the machine's tenant.

use serde_json::Value;

use crate::random::guid_of;

/// A made-up user. Every name is valid, and no user has a password.
#[derive(Clone)]
pub(crate) struct TenantUser {
    pub(crate) object_id: String,
    /// The sign-in name.
    pub(crate) name: String,
}

impl TenantUser {
    /// Returns the user with this name, the same one at each call, ignoring case.
    pub(crate) fn named(name: &str, tenant_id: &str) -> Self {
        let object_id = guid_of(&format!("{tenant_id} {}", name.to_lowercase()));
        Self { object_id, name: name.to_owned() }
    }

    /// Returns the user of an access token, or `None` for a token of an application.
    pub(crate) fn from_claims(claims: &Value) -> Option<Self> {
        // An ID token has no `scp`, and is not an access token.
        claims["scp"].as_str()?;
        let text = |name: &str| claims[name].as_str().map(str::to_owned);
        Some(Self { object_id: text("oid")?, name: text("preferred_username")? })
    }
}
