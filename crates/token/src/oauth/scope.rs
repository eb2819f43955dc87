//! Scopes and resources.

use std::borrow::Cow;

use symbolon_types::{Error, ErrorKind};

/// The scope of a resource that requests all statically granted permissions.
const DEFAULT_SCOPE: &str = "/.default";

/// The audience of a token: scopes, or a resource.
#[derive(Clone, Debug)]
pub(crate) enum Audience<'a> {
    /// Scopes in byte order, separated by one space. Their order has no meaning (RFC 6749 §3.3).
    Scopes(Cow<'a, str>),
    /// A resource, without `/.default`.
    Resource(&'a str),
}

/// Returns a resource without the suffix `/.default`, with which it would be a scope.
///
/// ```
/// # use symbolon_token::resource_name;
/// assert_eq!(resource_name("https://vault.azure.net/.default"), "https://vault.azure.net");
/// ```
#[must_use]
pub fn resource_name(text: &str) -> &str {
    text.strip_suffix(DEFAULT_SCOPE).unwrap_or(text)
}

impl<'a> Audience<'a> {
    pub(crate) fn scopes(text: &'a str) -> Self {
        // A fold has no branch for each byte; every cache look-up runs it.
        let is_single = text.bytes().fold(!text.is_empty(), |so_far, byte| so_far & byte.is_ascii_graphic());
        if is_single {
            return Self::Scopes(Cow::Borrowed(text));
        }
        let mut scopes: Vec<&str> = text.split_whitespace().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self::Scopes(Cow::Owned(scopes.join(" ")))
    }

    pub(crate) fn resource(text: &'a str) -> Self {
        Self::Resource(resource_name(text))
    }

    /// Returns the audience for the cache key and the token, in the caller's spelling.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Scopes(scopes) => scopes,
            Self::Resource(resource) => resource,
        }
    }

    /// Returns the `scope` parameter (`docs/protocol/token-request.md#request-body`).
    pub(crate) fn to_scope(&self) -> Result<String, Error> {
        let text = self.as_str();
        if text.is_empty() || text.chars().any(char::is_control) {
            let error = "the requested scope or resource is empty or has control characters";
            return Err(Error::new(ErrorKind::Request, "invalid_scope", error)
                .with_advice("name the resource as its URI, for example https://vault.azure.net"));
        }
        Ok(match self {
            Self::Scopes(scopes) => scopes.to_string(),
            Self::Resource(resource) => resource.trim_end_matches('/').to_owned() + DEFAULT_SCOPE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_scope_has_one_default_suffix() {
        for (given, cached, sent) in [
            ("https://vault.azure.net", "https://vault.azure.net", "https://vault.azure.net/.default"),
            ("https://vault.azure.net/", "https://vault.azure.net/", "https://vault.azure.net/.default"),
            (
                "https://vault.azure.net/.default",
                "https://vault.azure.net",
                "https://vault.azure.net/.default",
            ),
            ("https://x//.default", "https://x/", "https://x/.default"),
            ("api://app", "api://app", "api://app/.default"),
        ] {
            let audience = Audience::resource(given);
            assert_eq!(audience.as_str(), cached, "{given}");
            assert_eq!(audience.to_scope().unwrap(), sent, "{given}");
        }
    }

    #[test]
    fn scopes_are_sorted_and_deduplicated() {
        for text in ["b a", " a  b ", "a b a"] {
            assert_eq!(Audience::scopes(text).to_scope().unwrap(), "a b", "{text}");
        }
        assert!(matches!(Audience::scopes("one"), Audience::Scopes(Cow::Borrowed("one"))));
    }

    #[test]
    fn empty_audience_is_refused() {
        for audience in [
            Audience::scopes(" "),
            Audience::resource(""),
            Audience::resource("/.default"),
            Audience::resource("https://x\r\n"),
        ] {
            assert_eq!(audience.to_scope().unwrap_err().code(), "invalid_scope");
        }
    }
}
