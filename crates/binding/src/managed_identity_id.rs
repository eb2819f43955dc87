//! Ids of managed identities.

use std::sync::Arc;

use symbolon_types::{Error, ErrorKind, IdKind, input_flaw};

/// Id of a managed identity of the machine: system-assigned, or user-assigned with its client id,
/// its object id or its Azure resource id.
///
/// The three ids of one user-assigned identity are three different values, because only the service
/// can resolve them. Clones are cheap.
///
/// ```
/// use symbolon_binding::ManagedIdentityId;
/// use symbolon_types::IdKind;
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
    /// Returns the id of the system-assigned identity.
    #[must_use]
    pub fn system_assigned() -> Self {
        Self { kind: IdKind::SystemAssigned, value: None }
    }

    /// Returns the id of a user-assigned identity with this client id.
    ///
    /// # Errors
    /// `invalid_managed_identity_id` when the id is blank, in quotes, or has white space at an end
    /// or invisible characters.
    pub fn client_id(client_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ClientId, client_id.as_ref())
    }

    /// Returns the id of a user-assigned identity with this object id of its service principal.
    ///
    /// # Errors
    /// `invalid_managed_identity_id` when the id is blank, in quotes, or has white space at an end
    /// or invisible characters.
    pub fn object_id(object_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ObjectId, object_id.as_ref())
    }

    /// Returns the id of a user-assigned identity with this Azure resource id.
    ///
    /// # Errors
    /// `invalid_managed_identity_id` when the id is blank, in quotes, or has white space at an end
    /// or invisible characters.
    pub fn resource_id(resource_id: impl AsRef<str>) -> Result<Self, Error> {
        Self::user_assigned(IdKind::ResourceId, resource_id.as_ref())
    }

    fn user_assigned(kind: IdKind, value: &str) -> Result<Self, Error> {
        let flaw = if value.trim().is_empty() { Some("is empty") } else { input_flaw(value) };
        if let Some(flaw) = flaw {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_managed_identity_id",
                format!("the {kind} of the managed identity {flaw}"),
            )
            .with_advice("set the id without quotes and line breaks, or use the system-assigned identity"));
        }
        Ok(Self { kind, value: Some(value.into()) })
    }

    /// Returns the kind of the id.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        self.kind
    }

    /// Returns the id as it was given; `None` for the system-assigned identity.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Returns the id with its kind, for reports: `system`, `client-id:ID`, `object-id:ID` or
    /// `resource-id:ID`.
    #[must_use]
    pub fn qualified(&self) -> String {
        match &self.value {
            Some(value) => format!("{}:{value}", self.kind.as_str().replace(' ', "-")),
            None => "system".to_owned(),
        }
    }

    /// Returns the query parameter for the `IMDSv2` endpoints, without percent-encoding; `None` for
    /// the system-assigned identity (docs/protocol/imdsv2.md#platform-metadata).
    #[must_use]
    pub fn imdsv2_parameter(&self) -> Option<(&'static str, &str)> {
        self.parameter("mi_res_id")
    }

    /// Returns the query parameter for the `IMDSv1` token endpoint, without percent-encoding;
    /// `None` for the system-assigned identity. It differs from
    /// [`imdsv2_parameter`](Self::imdsv2_parameter) for resource ids
    /// (docs/protocol/sources.md#identity-parameters).
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

// Shows the kind, and hides the id.
symbolon_types::debug_fields!(ManagedIdentityId: kind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_depends_on_the_endpoint() {
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
    fn blank_id_is_refused() {
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
    fn copied_id_with_flaws_is_refused() {
        for (id, flaw) in [
            ("\"c\"", "is in quotes"),
            ("c\n", "ends with a line break"),
            (" c", "begins or ends with white space"),
        ] {
            let error = ManagedIdentityId::client_id(id).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_managed_identity_id"));
            assert!(error.to_string().contains(flaw), "{error}");
        }
    }

    #[test]
    fn kind_is_part_of_the_id() {
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
