//! What may be asked for.

use http::StatusCode;
use symbolon::{Error, ManagedIdentity, ManagedIdentityId, Token};

use crate::ask::Ask;
use crate::refusal::Refusal;

#[derive(Debug)]
pub(crate) struct Policy {
    /// The first is the one that is meant when none is named.
    pub(crate) identities: Vec<ManagedIdentity>,
    /// Empty for all.
    pub(crate) resources: Vec<String>,
    pub(crate) over_mtls: bool,
}

impl Policy {
    /// The identity that the client means, if it may have this token.
    pub(crate) fn permits(&self, ask: &Ask) -> Result<&ManagedIdentity, Refusal> {
        if !self.resources.is_empty() && !self.resources.iter().any(|one| same_resource(one, &ask.resource)) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "resource",
                "This agent gives out no tokens for that resource: it was started with a list of others (--allow)",
            ));
        }
        let mut identities = self.identities.iter();
        let found = match &ask.identity {
            None => identities.next(),
            Some(id) => identities.find(|identity| same_identity(identity.id(), id)),
        };
        found.ok_or_else(|| {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "identity",
                "This agent gives out no tokens of that identity: it was started with others (--identity)",
            )
        })
    }

    pub(crate) async fn token(&self, identity: &ManagedIdentity, resource: &str) -> Result<Token, Error> {
        let request = identity.token(resource);
        if self.over_mtls { request.over_mtls().await } else { request.await }
    }
}

/// SDKs add and drop the slash at the end, on the way from a scope to a resource.
fn same_resource(one: &str, other: &str) -> bool {
    let bare = |resource: &'_ str| resource.strip_suffix('/').unwrap_or(resource).to_owned();
    bare(one) == bare(other)
}

/// Ids compare without case, as Azure's do.
fn same_identity(one: &ManagedIdentityId, other: &ManagedIdentityId) -> bool {
    let same_value = match (one.value(), other.value()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _ => false,
    };
    one.kind() == other.kind() && same_value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_the_same_but_for_a_slash() {
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

    #[test]
    fn identities_are_the_same_by_kind_and_value() {
        let client = ManagedIdentityId::client_id("aB").unwrap();
        let system = ManagedIdentityId::system_assigned();
        assert!(same_identity(&client, &ManagedIdentityId::client_id("Ab").unwrap()));
        assert!(same_identity(&system, &ManagedIdentityId::system_assigned()));
        for other in [
            &ManagedIdentityId::object_id("aB").unwrap(),
            &ManagedIdentityId::client_id("a").unwrap(),
            &system,
        ] {
            assert!(!same_identity(&client, other), "{other:?}");
        }
    }
}
