//! The emulated machine and its identities.

use crate::random::guid;

/// The ids of a user-assigned managed identity.
///
/// ```
/// # use symbolon_emulator::UserAssigned;
/// let identity = UserAssigned::named("backup");
/// assert!(identity.resource_id.ends_with("/userAssignedIdentities/backup"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserAssigned {
    /// The client id, a GUID.
    pub client_id: String,
    /// The object id of the service principal, a GUID.
    pub object_id: String,
    /// The Azure resource id.
    pub resource_id: String,
}

impl UserAssigned {
    /// Creates a user-assigned identity with this name and random ids.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let subscription = guid();
        Self {
            client_id: guid(),
            object_id: guid(),
            resource_id: format!(
                "/subscriptions/{subscription}/resourcegroups/emulator/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
            ),
        }
    }
}

/// The identity that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Principal<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) object_id: &'a str,
    /// The `identity_type` of the issuance response.
    pub(crate) kind: &'static str,
}

/// The ids of the machine and its identities.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    object_id: String,
    /// The client id of an application, which is not an identity of the machine.
    pub(crate) application_id: String,
    pub(crate) vm_id: String,
    pub(crate) vmss_id: Option<String>,
    pub(crate) user_assigned: Vec<UserAssigned>,
}

impl Machine {
    pub(crate) fn new(tenant_id: Option<String>, scale_set: bool, more: Vec<UserAssigned>) -> Self {
        let mut user_assigned = vec![UserAssigned::named("emulated")];
        user_assigned.extend(more);
        Self {
            tenant_id: tenant_id.unwrap_or_else(guid),
            client_id: guid(),
            object_id: guid(),
            application_id: guid(),
            vm_id: guid(),
            vmss_id: scale_set.then(guid),
            user_assigned,
        }
    }

    /// Returns the compact JSON for certificate requests, `vmId` before `vmssId`
    /// (docs/protocol/imdsv2.md#compute-unit-attribute).
    pub(crate) fn compute_unit_json(&self) -> String {
        match &self.vmss_id {
            Some(vmss_id) => format!(r#"{{"vmId":"{}","vmssId":"{vmss_id}"}}"#, self.vm_id),
            None => format!(r#"{{"vmId":"{}"}}"#, self.vm_id),
        }
    }

    pub(crate) fn system_assigned(&self) -> Principal<'_> {
        Principal { client_id: &self.client_id, object_id: &self.object_id, kind: "SystemAssigned" }
    }

    /// Returns the identity with this id. Ids are compared ignoring case, as in Azure.
    pub(crate) fn find(&self, field: IdField, value: &str) -> Option<Principal<'_>> {
        let user_assigned = self.user_assigned.iter().map(|identity| {
            let UserAssigned { client_id, object_id, resource_id } = identity;
            (Principal { client_id, object_id, kind: "UserAssigned" }, Some(resource_id.as_str()))
        });
        let mut all = user_assigned.chain([(self.system_assigned(), None)]);
        let found = all.find(|(principal, resource_id)| {
            let own = match field {
                IdField::Client => Some(principal.client_id),
                IdField::Object => Some(principal.object_id),
                IdField::Resource => *resource_id,
            };
            own.is_some_and(|own| own.eq_ignore_ascii_case(value))
        });
        found.map(|(principal, _)| principal)
    }
}

/// A field that identifies an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdField {
    Client,
    Object,
    Resource,
}
