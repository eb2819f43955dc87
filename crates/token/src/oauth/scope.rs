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
        match self {
            Self::Scopes(scopes) => {
                check_characters(scopes, "scope")?;
                Ok(scopes.to_string())
            }
            // A slash at its end belongs to the resource: https://database.windows.net//.default.
            Self::Resource(resource) => {
                check_resource(resource)?;
                if resource.contains(char::is_whitespace) {
                    return Err(invalid(format!("the resource has white space: {resource}")));
                }
                Ok(format!("{resource}{DEFAULT_SCOPE}"))
            }
        }
    }
}

/// Refuses a resource that no service has: an empty one, one with quotes or control characters, and
/// a host name without its scheme.
///
/// # Errors
/// `invalid_scope` with the reason.
pub fn check_resource(resource: &str) -> Result<(), Error> {
    check_characters(resource, "resource")?;
    let host = resource.split('/').next().unwrap_or_default();
    if host.contains('.') && !resource.contains(':') {
        let error = format!("the resource {resource} is a host name and not a URI");
        return Err(invalid(error).with_advice(format!("write it with its scheme: https://{resource}")));
    }
    Ok(())
}

/// Refuses characters that a scope cannot have (RFC 6749 §3.3).
fn check_characters(text: &str, name: &str) -> Result<(), Error> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(invalid(format!("the {name} is empty or has control characters")));
    }
    if text.contains(['"', '\\']) {
        return Err(invalid(format!("the {name} has quotes or backslashes: {text}")));
    }
    Ok(())
}

fn invalid(error: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_scope", error)
        .with_advice("name the resource as its URI, for example https://vault.azure.net")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_resource_and_default() {
        for (given, cached, sent) in [
            ("https://vault.azure.net", "https://vault.azure.net", "https://vault.azure.net/.default"),
            ("https://vault.azure.net/", "https://vault.azure.net/", "https://vault.azure.net//.default"),
            (
                "https://vault.azure.net/.default",
                "https://vault.azure.net",
                "https://vault.azure.net/.default",
            ),
            (
                "https://database.windows.net//.default",
                "https://database.windows.net/",
                "https://database.windows.net//.default",
            ),
            ("https://x///.default", "https://x//", "https://x///.default"),
            ("api://app", "api://app", "api://app/.default"),
            (
                "00000003-0000-0000-c000-000000000000",
                "00000003-0000-0000-c000-000000000000",
                "00000003-0000-0000-c000-000000000000/.default",
            ),
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
            Audience::resource("https://x https://y"),
            Audience::resource("\"https://x\""),
            Audience::scopes("\"https://x/.default\""),
        ] {
            assert_eq!(audience.to_scope().unwrap_err().code(), "invalid_scope");
        }
    }

    #[test]
    fn host_name_is_no_resource() {
        for (resource, expected) in [
            ("vault.azure.net", "write it with its scheme: https://vault.azure.net"),
            ("vault.azure.net/.default", "write it with its scheme: https://vault.azure.net"),
            ("graph.microsoft.com/", "write it with its scheme: https://graph.microsoft.com/"),
        ] {
            let error = Audience::resource(resource).to_scope().unwrap_err();
            assert_eq!((error.code(), error.advice()), ("invalid_scope", expected), "{resource}");
        }
        for resource in ["https://vault.azure.net", "api://a.b", "spn:00000003", "app", "app/a.b"] {
            assert!(Audience::resource(resource).to_scope().is_ok(), "{resource}");
        }
    }
}
