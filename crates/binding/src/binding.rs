//! What a mint yields.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use symbolon_types::ClientIdentity;
use url::Url;

use crate::binding_id::BindingId;

/// A certificate that binds a managed identity to a key, and where to present it for a token.
///
/// Immutable, and cheap to clone.
#[derive(Clone)]
pub struct Binding(Arc<Parts>);

/// What a binding is made of.
pub(crate) struct Parts {
    pub(crate) id: BindingId,
    pub(crate) identity: ClientIdentity,
    pub(crate) token_endpoint: Url,
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    pub(crate) minted_at: SystemTime,
    pub(crate) renew_at: SystemTime,
}

impl Binding {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn id(&self) -> &BindingId {
        &self.0.id
    }

    /// The certificate with its key, for the handshake with the token endpoint and with resources.
    /// Its `usable_until` is the earlier of the certificate's end and the moment after which the
    /// token service does not accept it any more (IMDSv2: `token_not_after`).
    #[must_use]
    pub fn identity(&self) -> &ClientIdentity {
        &self.0.identity
    }

    /// Where to ask for tokens with the certificate:
    /// `{mtls_authentication_endpoint}/{tenant}/oauth2/v2.0/token`.
    #[must_use]
    pub fn token_endpoint(&self) -> &Url {
        &self.0.token_endpoint
    }

    /// The client id of the managed identity, whatever it was asked by: `client_id` of the token
    /// request.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// The tenant of the managed identity.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.0.tenant_id
    }

    /// When the certificate arrived, on this machine's clock.
    #[must_use]
    pub fn minted_at(&self) -> SystemTime {
        self.0.minted_at
    }

    /// When it is renewed, if somebody asks for it then.
    #[must_use]
    pub fn renew_at(&self) -> SystemTime {
        self.0.renew_at
    }
}

/// Shows how strong the key is and how long it lasts, and no id.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("strength", &self.0.identity.strength())
            .field("minted_at", &self.0.minted_at)
            .field("renew_at", &self.0.renew_at)
            .field("usable_until", &self.0.identity.usable_until())
            .finish_non_exhaustive()
    }
}
