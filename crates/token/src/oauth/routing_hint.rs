//! Where the backup of Entra finds a user.

use std::fmt;

use http::HeaderValue;
use symbolon_types::{Error, ErrorKind};

use super::account::Account;

/// Where Entra's backup authentication service finds a user: while Entra itself is down, it serves
/// requests that say where. It is sent as `x-anchormailbox`.
///
/// Requests that are founded on a refresh token that is kept say so by themselves; give a hint where
/// only you know the user ([`TokenRequest::routing_hint`](crate::TokenRequest::routing_hint)). It
/// names a person: it is never logged.
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
    /// The user with this object id in this tenant.
    ///
    /// # Errors
    /// `invalid_routing_hint` if one is empty, or holds what no header can.
    pub fn user(object_id: &str, tenant_id: &str) -> Result<Self, Error> {
        if tenant_id.is_empty() {
            return Err(invalid());
        }
        Self::of(object_id, format!("oid:{object_id}@{tenant_id}"))
    }

    /// The user who signs in under this name.
    ///
    /// # Errors
    /// As [`user`](Self::user).
    pub fn username(name: &str) -> Result<Self, Error> {
        Self::of(name, format!("upn:{name}"))
    }

    /// Where the user of an account is, if it is one of Entra's, whose ids are `object.tenant`.
    /// Another service has no backup to send them to.
    pub(crate) fn of_account(account: &Account) -> Option<Self> {
        let (object_id, tenant_id) = account.id().rsplit_once('.')?;
        if !is_guid(tenant_id) {
            return None;
        }
        Self::user(object_id, tenant_id).ok()
    }

    fn of(who: &str, text: String) -> Result<Self, Error> {
        if who.is_empty() {
            return Err(invalid());
        }
        // A name may have letters beyond ASCII.
        let mut value = HeaderValue::try_from(text.into_bytes()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// (RFC 9562 §4.)
fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn invalid() -> Error {
    let error = "the routing hint names nobody; nothing was sent";
    Error::new(ErrorKind::Request, "invalid_routing_hint", error)
        .with_advice("give the object id and the tenant id of the user, or the name that they sign in with")
}

/// Hides who it is.
impl fmt::Debug for RoutingHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoutingHint")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

    fn shown(hint: Option<RoutingHint>) -> Option<String> {
        hint.map(|hint| String::from_utf8(hint.header().as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn an_account_of_entra_says_where_its_user_is_and_another_does_not() {
        for (id, expected) in [
            (format!("oid.{TENANT}"), Some(format!("oid:oid@{TENANT}"))),
            // A policy of B2C is part of the object id.
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
    fn a_hint_is_a_header_or_an_error_that_does_not_quote_it() {
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
        assert_eq!(format!("{hint:?} {:?}", hint.header()), "RoutingHint Sensitive");
    }
}
