//! The scope of a token request.

use crate::protocol::token_error::TokenError;

/// The suffix of scopes of the client credentials grant (Entra v2.0).
const DEFAULT_SCOPE: &str = "/.default";
/// The name for all scopes that users have consented to.
const DEFAULT: &str = ".default";
/// The scope that users have consented to, named as at most of Azure's resources.
const USER_IMPERSONATION: &str = "user_impersonation";
/// The resource of scopes without a resource (Entra v2.0).
const GRAPH: &str = "https://graph.microsoft.com";

/// Returns the resource of a scope that ends in exactly one `/.default`.
pub(crate) fn resource(scope: &str) -> Option<&str> {
    let resource = scope.strip_suffix(DEFAULT_SCOPE)?;
    let one = !resource.is_empty() && !resource.contains(' ') && !resource.ends_with(DEFAULT_SCOPE);
    one.then_some(resource)
}

/// The scopes of a request for a user's token: those of one resource, and those of OpenID Connect.
#[derive(Debug)]
pub(crate) struct DelegatedScopes<'a> {
    pub(crate) resource: &'a str,
    /// The names of the scopes, without the resource.
    names: Vec<&'a str>,
    /// The scopes as requested.
    requested: Vec<&'a str>,
    /// `openid` is requested (OpenID Connect Core 1.0 §3.1.2.1).
    pub(crate) with_id_token: bool,
    /// `offline_access` is requested (OpenID Connect Core 1.0 §11).
    pub(crate) with_refresh_token: bool,
}

impl<'a> DelegatedScopes<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenError> {
        let (mut with_id_token, mut with_refresh_token) = (false, false);
        let mut requested = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            match scope {
                "openid" => with_id_token = true,
                "offline_access" => with_refresh_token = true,
                "profile" | "email" => {}
                _ => requested.push(scope),
            }
        }
        let pairs: Vec<_> = requested
            .iter()
            .map(|scope| split(scope))
            .collect::<Option<_>>()
            .ok_or(TokenError::USER_SCOPE)?;
        let (resource, _) = *pairs.first().ok_or(TokenError::USER_SCOPE)?;
        if pairs.iter().any(|(other, _)| *other != resource) {
            return Err(TokenError::RESOURCES);
        }
        let names: Vec<_> = pairs.into_iter().map(|(_, name)| name).collect();
        // Entra refuses other scopes next to `.default`.
        if names.len() > 1 && names.contains(&DEFAULT) {
            return Err(TokenError::USER_SCOPE);
        }
        Ok(Self { resource, names, requested, with_id_token, with_refresh_token })
    }

    /// Returns the `scp` claim of the token.
    pub(crate) fn claim(&self) -> String {
        if self.names == [DEFAULT] { USER_IMPERSONATION.to_owned() } else { self.names.join(" ") }
    }

    /// Returns the `scope` of the response: the requested scopes, by which clients find the token
    /// in their cache, and the scope that `.default` stands for.
    pub(crate) fn granted(&self) -> String {
        let requested = self.requested.join(" ");
        if self.names == [DEFAULT] {
            format!("{}/{USER_IMPERSONATION} {requested}", self.resource)
        } else {
            requested
        }
    }
}

/// Splits a scope into the resource and the name.
fn split(scope: &str) -> Option<(&str, &str)> {
    let Some((resource, name)) = scope.rsplit_once('/') else { return Some((GRAPH, scope)) };
    // `https://host` has no scope name.
    let complete = !resource.is_empty()
        && !resource.ends_with(":/")
        && !resource.ends_with(DEFAULT_SCOPE)
        && !name.is_empty();
    complete.then_some((resource, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String, String, [bool; 2]), u64> {
        let scopes = DelegatedScopes::parse(text).map_err(|error| error.code)?;
        Ok((
            scopes.resource.to_owned(),
            scopes.claim(),
            scopes.granted(),
            [scopes.with_id_token, scopes.with_refresh_token],
        ))
    }

    #[test]
    fn scopes_of_one_resource_are_parsed() {
        for (text, resource, claim, granted, beside) in [
            (
                "https://vault.azure.net/.default",
                "https://vault.azure.net",
                "user_impersonation",
                "https://vault.azure.net/user_impersonation https://vault.azure.net/.default",
                [false, false],
            ),
            (
                "openid api://other/read  offline_access api://other/write profile",
                "api://other",
                "read write",
                "api://other/read api://other/write",
                [true, true],
            ),
            ("User.Read email", GRAPH, "User.Read", "User.Read", [false, false]),
            ("a/b", "a", "b", "a/b", [false, false]),
            // A resource that ends in a slash.
            ("https://x//read offline_access", "https://x/", "read", "https://x//read", [false, true]),
        ] {
            let expected = (resource.to_owned(), claim.to_owned(), granted.to_owned(), beside);
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn scope_without_one_resource_is_refused() {
        for (text, code) in [
            ("", 70_011),
            ("openid offline_access", 70_011),
            ("https://vault.azure.net", 70_011),
            ("/.default", 70_011),
            ("a/", 70_011),
            ("a/.default/.default", 70_011),
            ("a/.default a/read", 70_011),
            ("a/.default b/.default", 28_000),
            ("a/read User.Read", 28_000),
        ] {
            assert_eq!(parsed(text), Err(code), "{text}");
        }
    }
}
