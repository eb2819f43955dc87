//! What a token request asks for: a resource, and, about a user, what to do there.

use crate::oauth::Refusal;
use crate::refusals;

/// What a scope of the client credentials grant ends in (Entra v2.0).
const DEFAULT_SCOPE: &str = "/.default";
/// The scope that stands for all that users have consented to.
const CONSENTED: &str = ".default";
/// What users have consented to here, as most of Azure's own resources name the one scope that they have.
const USER_IMPERSONATION: &str = "user_impersonation";
/// The resource of scopes that name none (Entra v2.0).
const GRAPH: &str = "https://graph.microsoft.com";

/// The resource of a scope that ends in exactly one `/.default`.
pub(crate) fn resource(scope: &str) -> Option<&str> {
    let resource = scope.strip_suffix(DEFAULT_SCOPE)?;
    let one = !resource.is_empty() && !resource.contains(' ') && !resource.ends_with(DEFAULT_SCOPE);
    one.then_some(resource)
}

/// What is asked for about a user: scopes of one resource, and beside them those of OpenID Connect.
#[derive(Debug)]
pub(crate) struct Scopes<'a> {
    pub(crate) resource: &'a str,
    /// What to do at the resource.
    names: Vec<&'a str>,
    /// The same, as it was asked for.
    asked: Vec<&'a str>,
    /// `openid`: the client wants to know who the user is (OIDC Core §3.1.2.1).
    pub(crate) identifies: bool,
    /// `offline_access`: the client wants a refresh token (OIDC Core §11).
    pub(crate) offline: bool,
}

impl<'a> Scopes<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let (mut identifies, mut offline) = (false, false);
        let mut asked = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            match scope {
                "openid" => identifies = true,
                "offline_access" => offline = true,
                "profile" | "email" => {}
                _ => asked.push(scope),
            }
        }
        let pairs: Vec<_> =
            asked.iter().map(|scope| apart(scope)).collect::<Option<_>>().ok_or(refusals::USER_SCOPE)?;
        let (resource, _) = *pairs.first().ok_or(refusals::USER_SCOPE)?;
        if pairs.iter().any(|(other, _)| *other != resource) {
            return Err(refusals::RESOURCES);
        }
        let names: Vec<_> = pairs.into_iter().map(|(_, name)| name).collect();
        // Entra: `.default` is all there is, so that nothing can be asked for beside it.
        if names.len() > 1 && names.contains(&CONSENTED) {
            return Err(refusals::USER_SCOPE);
        }
        Ok(Self { resource, names, asked, identifies, offline })
    }

    /// `scp` of the token.
    pub(crate) fn claim(&self) -> String {
        if self.names == [CONSENTED] { USER_IMPERSONATION.to_owned() } else { self.names.join(" ") }
    }

    /// `scope` of the answer: what was asked for, by which clients find the token again, and what `.default` came to.
    pub(crate) fn granted(&self) -> String {
        let asked = self.asked.join(" ");
        if self.names == [CONSENTED] {
            format!("{}/{USER_IMPERSONATION} {asked}", self.resource)
        } else {
            asked
        }
    }
}

/// The resource of a scope, and what to do there.
fn apart(scope: &str) -> Option<(&str, &str)> {
    let Some((resource, name)) = scope.rsplit_once('/') else { return Some((GRAPH, scope)) };
    // `https://host` names no scope.
    let whole = !resource.is_empty()
        && !resource.ends_with(":/")
        && !resource.ends_with(DEFAULT_SCOPE)
        && !name.is_empty();
    whole.then_some((resource, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String, String, [bool; 2]), u64> {
        let scopes = Scopes::parse(text).map_err(|refusal| refusal.code)?;
        Ok((
            scopes.resource.to_owned(),
            scopes.claim(),
            scopes.granted(),
            [scopes.identifies, scopes.offline],
        ))
    }

    #[test]
    fn scopes_of_one_resource_are_taken_apart() {
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
            // What Entra makes of a resource that ends in a slash.
            ("https://x//read offline_access", "https://x/", "read", "https://x//read", [false, true]),
        ] {
            let expected = (resource.to_owned(), claim.to_owned(), granted.to_owned(), beside);
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_resource_or_more_than_one_is_refused() {
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
