//! The routing hint of a request about a user.

use http::HeaderValue;
use symbolon_types::{Error, ErrorKind};

use super::account::Account;

/// The header `x-anchormailbox`, by which Entra's backup authentication service locates a user and
/// can serve the request while Entra is down (`docs/protocol/token-request.md#routing-hint`).
///
/// Requests with a refresh token of the cache have the hint automatically. Set it with
/// [`TokenRequest::routing_hint`](crate::TokenRequest::routing_hint) if only the application has
/// identified the user. The hint identifies a person and is never logged.
///
/// ```
/// # use symbolon_token::RoutingHint;
/// let object_id = "9f4880d8-80ba-4c40-97bc-f7a23c703084";
/// let hint = RoutingHint::user(object_id, "751a212b-4003-416e-b600-e1f48e40db9f")?;
/// # Ok::<(), symbolon_token::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RoutingHint(HeaderValue);

impl RoutingHint {
    /// Creates the hint for a user by object id and tenant id.
    ///
    /// # Errors
    /// `invalid_routing_hint` if an id is empty or has characters that a header cannot contain.
    pub fn user(object_id: &str, tenant_id: &str) -> Result<Self, Error> {
        if tenant_id.is_empty() {
            return Err(invalid());
        }
        Self::from_parts(object_id, format!("oid:{object_id}@{tenant_id}"))
    }

    /// Creates the hint for a user by sign-in name.
    ///
    /// # Errors
    /// As [`user`](Self::user).
    pub fn username(name: &str) -> Result<Self, Error> {
        Self::from_parts(name, format!("upn:{name}"))
    }

    /// Returns the hint for an account of Entra, whose id is `{object id}.{tenant GUID}`. Other
    /// token services have no backup service.
    pub(crate) fn of_account(account: &Account) -> Option<Self> {
        let (object_id, tenant_id) = account.id().rsplit_once('.')?;
        // A GUID (RFC 9562 §4).
        let is_guid = tenant_id.len() == 36
            && tenant_id.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_guid { Self::user(object_id, tenant_id).ok() } else { None }
    }

    fn from_parts(user: &str, text: String) -> Result<Self, Error> {
        if user.is_empty() {
            return Err(invalid());
        }
        // As bytes, because a name may have characters beyond ASCII.
        let mut value = HeaderValue::try_from(text.into_bytes()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn invalid() -> Error {
    let error = "the routing hint is empty or has characters that a header cannot contain; nothing was sent";
    Error::new(ErrorKind::Request, "invalid_routing_hint", error)
        .with_advice("pass the object id and the tenant id of the user, or the sign-in name")
}

// Hides the user.
symbolon_types::debug_fields!(RoutingHint);

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

    fn shown(hint: Option<RoutingHint>) -> Option<String> {
        hint.map(|hint| String::from_utf8(hint.header().as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn entra_account_has_a_hint() {
        for (id, expected) in [
            (format!("oid.{TENANT}"), Some(format!("oid:oid@{TENANT}"))),
            // The object id includes the policy of B2C.
            (format!("oid-b2c_1.sign_in.{TENANT}"), Some(format!("oid:oid-b2c_1.sign_in@{TENANT}"))),
            (format!(".{TENANT}"), None),
            ("first.last".to_owned(), None),
            (TENANT.to_owned(), None),
            (format!("oid\n.{TENANT}"), None),
        ] {
            assert_eq!(shown(RoutingHint::of_account(&Account::from_id(&*id))), expected, "{id:?}");
        }
    }

    #[test]
    fn invalid_hint_is_refused_unquoted() {
        let username = |name| shown(RoutingHint::username(name).ok());
        assert_eq!(username("jürgen@contoso.example").as_deref(), Some("upn:jürgen@contoso.example"));
        for error in [
            RoutingHint::username(""),
            RoutingHint::username("evil\r\nx: y"),
            RoutingHint::user("", TENANT),
            RoutingHint::user("oid", ""),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.code(), "invalid_routing_hint");
            assert!(!error.to_string().contains("evil"), "{error}");
        }
        let hint = RoutingHint::username("me@contoso.example").unwrap();
        assert_eq!(format!("{hint:?} {:?}", hint.header()), "RoutingHint { .. } Sensitive");
    }
}
