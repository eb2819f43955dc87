//! Tenants.

use std::fmt;

use symbolon_types::{Error, ErrorKind, input_flaw};

/// The longest domain name (RFC 1035 §2.3.4).
const LENGTH: usize = 253;
/// The words for the tenant of the user who signs in (`docs/protocol/routing.md#tenants`).
const TENANTLESS: [&str; 2] = ["common", "organizations"];

/// A tenant in lower case: its id, one of its domains, or `common`, `organizations` or `consumers`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Box<str>);

impl Tenant {
    /// Parses an id, a domain or one of the words.
    ///
    /// # Errors
    /// `invalid_tenant` if the text is not one segment of a path.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !is_segment(text) {
            let flaw = input_flaw(text).unwrap_or("is neither an id nor a domain name");
            let error = format!("the tenant {flaw}; nothing was sent");
            return Err(Error::new(ErrorKind::Request, "invalid_tenant", error)
                .with_advice("use the id of the tenant, or a domain such as contoso.onmicrosoft.com"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Returns the tenant in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is `common` or `organizations`, which name no particular tenant.
    #[must_use]
    pub fn is_tenantless(&self) -> bool {
        TENANTLESS.contains(&self.as_str())
    }
}

/// Returns whether `text` is one segment of a path that a URL parser leaves unchanged.
pub(super) fn is_segment(text: &str) -> bool {
    (1..=LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && text.bytes().any(|byte| byte != b'.')
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Hides the name.
symbolon_types::debug_fields!(Tenant);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_is_an_id_or_a_domain() {
        for (text, tenantless) in [
            ("751a212b-4003-416e-b600-e1f48e40db9f", false),
            ("contoso.onmicrosoft.com", false),
            ("consumers", false),
            ("9188040d-6c67-4c5b-b112-36a304b66dad", false),
            ("common", true),
            ("Organizations", true),
        ] {
            let tenant = Tenant::parse(text).unwrap();
            assert_eq!(tenant.as_str(), text.to_lowercase());
            assert_eq!(tenant.is_tenantless(), tenantless, "{text}");
        }
    }

    #[test]
    fn tenant_cannot_change_the_path() {
        let long = "a".repeat(LENGTH + 1);
        for text in ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a b", "a\n", "é", &long] {
            let error = Tenant::parse(text).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_tenant"), "{text:?}");
        }
    }
}
