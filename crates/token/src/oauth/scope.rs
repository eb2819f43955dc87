//! What a token is for.

use std::borrow::Cow;

use symbolon_types::{Error, ErrorKind};

/// The scope value that asks for everything that was granted statically.
const DEFAULT_SCOPE: &str = "/.default";

/// What a token is for: scopes, or a resource.
#[derive(Clone, Debug)]
pub(crate) enum Audience<'a> {
    /// Scopes, in canonical order and separated by one space (RFC 6749 §3.3: the order has no
    /// meaning).
    Scopes(Cow<'a, str>),
    /// A resource, without `/.default`.
    Resource(&'a str),
}

/// A resource without the `/.default` that callers who think in scopes put behind it.
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
        // Without a branch for each byte: every look-up comes through here.
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

    /// What stands in the cache key and on the result: the caller's spelling.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Scopes(scopes) => scopes,
            Self::Resource(resource) => resource,
        }
    }

    /// What stands in the request: for a resource, `/.default` behind it, once, whatever slashes
    /// the caller ended it with (IMDSv2 §7.3).
    pub(crate) fn on_the_wire(&self) -> Result<String, Error> {
        let text = self.as_str();
        let is_usable = !text.is_empty() && !text.chars().any(char::is_control);
        match self {
            _ if !is_usable => Err(Error::new(
                ErrorKind::Request,
                "invalid_scope",
                "the request names no usable scope or resource",
            )
            .with_advice("name the resource as its URI, for example https://vault.azure.net")),
            Self::Scopes(scopes) => Ok(scopes.to_string()),
            Self::Resource(resource) => Ok(resource.trim_end_matches('/').to_owned() + DEFAULT_SCOPE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_goes_out_with_one_default_behind_it() {
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
            assert_eq!(audience.on_the_wire().unwrap(), sent, "{given}");
        }
    }

    #[test]
    fn the_order_and_repetition_of_scopes_have_no_meaning() {
        for text in ["b a", " a  b ", "a b a"] {
            assert_eq!(Audience::scopes(text).on_the_wire().unwrap(), "a b", "{text}");
        }
        assert!(matches!(Audience::scopes("one"), Audience::Scopes(Cow::Borrowed("one"))));
    }

    #[test]
    fn an_audience_that_names_nothing_is_an_error() {
        for audience in [
            Audience::scopes(" "),
            Audience::resource(""),
            Audience::resource("/.default"),
            Audience::resource("https://x\r\n"),
        ] {
            assert_eq!(audience.on_the_wire().unwrap_err().code(), "invalid_scope");
        }
    }
}
