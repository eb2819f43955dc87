//! The client and the tenant of a token.

use std::sync::Arc;

/// The client that a token was issued to, and the tenant. The tokens of a client share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenOwner {
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) tenant_id: Option<Arc<str>>,
}
