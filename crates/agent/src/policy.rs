//! The identities and resources that clients may request.

use http::StatusCode;
use symbolon::{Error, ManagedIdentity, Token};

use crate::query::{TokenQuery, same_identity};
use crate::rejection::Rejection;

/// The agent's configuration of permitted requests.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Never empty; the first is the default.
    pub(crate) identities: Vec<ManagedIdentity>,
    /// Permitted resources; `None` permits all, an empty list permits none.
    pub(crate) resources: Option<Vec<String>>,
    pub(crate) over_mtls: bool,
}

impl Policy {
    /// Returns the requested identity if the client may have this token.
    pub(crate) fn authorize(&self, query: &TokenQuery) -> Result<&ManagedIdentity, Rejection> {
        let is_permitted = |list: &Vec<String>| list.iter().any(|one| same_resource(one, &query.resource));
        if !self.resources.as_ref().is_none_or(is_permitted) {
            return Err(Rejection::new(
                StatusCode::FORBIDDEN,
                "resource",
                "This agent does not issue tokens for that resource: add it to the list (--allow)",
            ));
        }
        let mut identities = self.identities.iter();
        let found = match &query.identity {
            None => identities.next(),
            Some(id) => identities.find(|identity| same_identity(identity.id(), id)),
        };
        found.ok_or_else(|| {
            Rejection::new(
                StatusCode::FORBIDDEN,
                "identity",
                "This agent does not issue tokens for that identity: add it to the list (--identity)",
            )
        })
    }

    pub(crate) async fn token(&self, identity: &ManagedIdentity, resource: &str) -> Result<Token, Error> {
        let request = identity.token(resource);
        if self.over_mtls { request.over_mtls().await } else { request.await }
    }
}

/// Compares resources without their final slash, which SDKs add or drop when they turn a scope into
/// a resource.
fn same_resource(one: &str, other: &str) -> bool {
    let bare = |resource: &'_ str| resource.strip_suffix('/').unwrap_or(resource).to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_compare_without_final_slash() {
        for (one, other, same) in [
            ("https://x.example", "https://x.example/", true),
            ("https://x.example/", "https://x.example", true),
            ("https://x.example", "https://x.example//", false),
            ("https://x.example", "https://x.example.attacker.example", false),
            ("https://x.example", "https://x.example/path", false),
        ] {
            assert_eq!(same_resource(one, other), same, "{one} {other}");
        }
    }
}
