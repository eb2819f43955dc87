//! Which managed identity is meant.

use std::fmt;
use std::sync::Arc;

use symbolon_types::{Error, ErrorKind, IdKind};

/// Names one managed identity of the machine: the one that the machine itself is, or one that a
/// user assigned to it, by its client id, its object id or its Azure resource id.
///
/// Three names of one user-assigned identity are three different values: which identity a name
/// stands for is only known to the service that is asked. Clones are cheap.
///
/// ```
/// use symbolon_binding::{IdKind, ManagedIdentityId};
///
/// let id = ManagedIdentityId::client_id("d3adb33f-c0de-ed0c-c0de-deadb33fc0d3")?;
/// assert_eq!(id.kind(), IdKind::ClientId);
/// assert_eq!(id.imdsv2_parameter(), Some(("client_id", "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3")));
/// assert_eq!(ManagedIdentityId::system_assigned().imdsv2_parameter(), None);
/// assert!(ManagedIdentityId::object_id("  ").is_err());
/// # Ok::<(), symbolon_binding::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ManagedIdentityId {
    kind: IdKind,
    value: Option<Arc<str>>,
}

impl ManagedIdentityId {
    /// The identity that belongs to the machine.
    #[must_use]
    pub fn system_assigned() -> Self {
        Self { kind: IdKind::SystemAssigned, value: None }
    }

    /// A user-assigned identity by its client id.
    ///
    /// # Errors
    /// When the text is blank.
    pub fn client_id(client_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ClientId, client_id.as_ref())
    }

    /// A user-assigned identity by the object id of its service principal.
    ///
    /// # Errors
    /// When the text is blank.
    pub fn object_id(object_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ObjectId, object_id.as_ref())
    }

    /// A user-assigned identity by its Azure resource id.
    ///
    /// # Errors
    /// When the text is blank.
    pub fn resource_id(resource_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ResourceId, resource_id.as_ref())
    }

    fn user_assigned(kind: IdKind, value: &str) -> Result<Self, Error> {
        if value.trim().is_empty() {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_managed_identity_id",
                format!("the {kind} of the managed identity is empty"),
            )
            .with_advice("name the identity, or ask for the system-assigned one"));
        }
        Ok(Self { kind, value: Some(value.into()) })
    }

    /// By what the identity is named.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        self.kind
    }

    /// The id as it was given; `None` for the system-assigned identity.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// The query parameter that selects it at the `IMDSv2` endpoints, not yet percent-encoded;
    /// `None` for the system-assigned identity. (IMDSv2: `getplatformmetadata`, `issuecredential`.)
    #[must_use]
    pub fn imdsv2_parameter(&self) -> Option<(&'static str, &str)> {
        self.parameter("mi_res_id")
    }

    /// The query parameter that selects it at the `IMDSv1` token endpoint, not yet
    /// percent-encoded; `None` for the system-assigned identity. It differs from
    /// [`imdsv2_parameter`](Self::imdsv2_parameter) for resource ids.
    #[must_use]
    pub fn imdsv1_parameter(&self) -> Option<(&'static str, &str)> {
        self.parameter("msi_res_id")
    }

    fn parameter(&self, for_resource_id: &'static str) -> Option<(&'static str, &str)> {
        let name = match self.kind {
            IdKind::ClientId => "client_id",
            IdKind::ObjectId => "object_id",
            IdKind::ResourceId => for_resource_id,
            _ => return None,
        };
        Some((name, self.value()?))
    }
}

/// Shows by what the identity is named, not its id.
impl fmt::Debug for ManagedIdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityId").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_its_own_parameter() {
        let client = ManagedIdentityId::client_id("c").unwrap();
        let object = ManagedIdentityId::object_id("o").unwrap();
        let resource = ManagedIdentityId::resource_id("/r").unwrap();
        for (id, v2, v1) in [
            (ManagedIdentityId::system_assigned(), None, None),
            (client, Some(("client_id", "c")), Some(("client_id", "c"))),
            (object, Some(("object_id", "o")), Some(("object_id", "o"))),
            (resource, Some(("mi_res_id", "/r")), Some(("msi_res_id", "/r"))),
        ] {
            assert_eq!((id.imdsv2_parameter(), id.imdsv1_parameter()), (v2, v1), "{id:?}");
        }
    }

    #[test]
    fn a_blank_id_is_refused() {
        for blank in ["", " ", "\t\r\n"] {
            for made in [
                ManagedIdentityId::client_id(blank),
                ManagedIdentityId::object_id(blank),
                ManagedIdentityId::resource_id(blank),
            ] {
                let error = made.unwrap_err();
                assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_managed_identity_id"));
            }
        }
    }

    #[test]
    fn the_same_text_under_another_name_is_another_identity() {
        let client = ManagedIdentityId::client_id("one").unwrap();
        assert_eq!(client, ManagedIdentityId::client_id("one").unwrap());
        assert_ne!(client, ManagedIdentityId::object_id("one").unwrap());
    }

    #[test]
    fn debug_hides_the_id() {
        let shown = format!("{:?}", ManagedIdentityId::resource_id("/subscriptions/private").unwrap());
        assert!(shown.contains("ResourceId") && !shown.contains("private"), "{shown}");
    }
}
