//! Users whom a federated identity credential names.

use symbolon_types::{Error, ErrorKind, Secret, input_flaw};

use super::routing_hint::RoutingHint;

/// The user of a federated identity credential: the user account of an agent identity.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FederatedUser {
    /// The user with this object id.
    ObjectId(String),
    /// The user with this sign-in name (UPN).
    Name(String),
}

impl FederatedUser {
    /// Returns the parameter that names the user.
    pub(crate) fn parameter(&self) -> (&'static str, &str) {
        match self {
            Self::ObjectId(id) => ("user_id", id),
            Self::Name(name) => ("username", name),
        }
    }

    pub(crate) fn check(&self, credential: &Secret) -> Result<(), Error> {
        let (name, value) = self.parameter();
        let flaw = if value.is_empty() { Some("is empty") } else { input_flaw(value) };
        let problem = match flaw {
            Some(flaw) => format!("the {name} of the federated user {flaw}"),
            None if credential.expose().trim().is_empty() => {
                "the federated identity credential of the user is empty".to_owned()
            }
            None => return Ok(()),
        };
        Err(Error::new(ErrorKind::Request, "invalid_parameter", format!("{problem}; nothing was sent"))
            .with_advice(
                "pass the object id or the sign-in name of the user, and a token of the agent identity",
            ))
    }

    /// Returns the routing hint for the user (`docs/protocol/token-request.md#routing-hint`).
    pub(crate) fn routing_hint(&self, tenant_id: Option<&str>) -> Option<RoutingHint> {
        match self {
            Self::ObjectId(id) => RoutingHint::user(id, tenant_id?).ok(),
            Self::Name(name) => RoutingHint::username(name).ok(),
        }
    }
}

// Hides the user.
symbolon_types::debug_fields!(FederatedUser);
