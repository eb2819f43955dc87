//! Identity of a binding.

use std::sync::Arc;

use crate::issuance::PlatformMetadata;

/// Identity of a binding: the managed identity, the machine, and whether the key is attested.
///
/// The metadata service resolves the client id, object id and resource id of an identity to one
/// client, so all of them lead to one `BindingId`. A cloned machine has a compute unit of its own,
/// so its bindings have other ids (docs/protocol/imdsv2.md#binding-store). A binding for one scope
/// only would add the scope as another member. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BindingId(Arc<BindingIdParts>);

#[derive(PartialEq, Eq, Hash)]
struct BindingIdParts {
    tenant_id: String,
    client_id: String,
    compute_unit: String,
    is_attested: bool,
}

impl BindingId {
    pub(crate) fn new(metadata: &PlatformMetadata, is_attested: bool) -> Self {
        Self(Arc::new(BindingIdParts {
            // GUIDs are case-insensitive.
            tenant_id: metadata.tenant_id.to_ascii_lowercase(),
            client_id: metadata.client_id.to_ascii_lowercase(),
            compute_unit: metadata.compute_unit.to_json(),
            is_attested,
        }))
    }

    /// Returns all members in one string, unambiguously.
    #[cfg(unix)]
    pub(crate) fn text(&self) -> String {
        let BindingIdParts { tenant_id, client_id, compute_unit, is_attested } = &*self.0;
        serde_json::json!([tenant_id, client_id, compute_unit, is_attested]).to_string()
    }
}

// Hides the ids.
symbolon_types::debug_fields!(BindingId |this| is_attested: this.0.is_attested);

#[cfg(test)]
impl BindingId {
    pub(crate) fn of_client(client_id: &str) -> Self {
        Self(Arc::new(BindingIdParts {
            tenant_id: "tenant".into(),
            client_id: client_id.into(),
            compute_unit: "{}".into(),
            is_attested: false,
        }))
    }
}
