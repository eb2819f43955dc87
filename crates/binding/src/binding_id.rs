//! What a binding is for, by the service's own names.

use std::fmt;
use std::sync::Arc;

use crate::platform_metadata::PlatformMetadata;

/// Which identity, on which machine, and whether the key was attested.
///
/// Names of an identity (its client id, object id, resource id) lead to one value, because the
/// metadata service says which client they mean; a machine that was cloned has another one,
/// because it says which machine it is. (IMDSv2 §13.3, rows 23 and 24.) Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BindingId(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    tenant_id: String,
    client_id: String,
    compute_unit: String,
    is_attested: bool,
}

impl BindingId {
    pub(crate) fn new(metadata: &PlatformMetadata, is_attested: bool) -> Self {
        Self(Arc::new(Parts {
            // GUIDs, which compare in any case.
            tenant_id: metadata.tenant_id.to_ascii_lowercase(),
            client_id: metadata.client_id.to_ascii_lowercase(),
            compute_unit: metadata.compute_unit.to_json(),
            is_attested,
        }))
    }

    /// Everything it consists of, in a form in which two that differ differ.
    #[cfg(unix)]
    pub(crate) fn text(&self) -> String {
        let Parts { tenant_id, client_id, compute_unit, is_attested } = &*self.0;
        serde_json::json!([tenant_id, client_id, compute_unit, is_attested]).to_string()
    }
}

/// Hides the ids.
impl fmt::Debug for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingId").field("is_attested", &self.0.is_attested).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl BindingId {
    pub(crate) fn of_client(client_id: &str) -> Self {
        Self(Arc::new(Parts {
            tenant_id: "tenant".into(),
            client_id: client_id.into(),
            compute_unit: "{}".into(),
            is_attested: false,
        }))
    }
}
