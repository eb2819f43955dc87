//! Result of a mint.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use symbolon_types::{ClientIdentity, Error, SigningKey, SteadyTime};
use url::Url;

use crate::binding_id::BindingId;
use crate::record::BindingRecord;

/// Certificate that binds a managed identity to a key, with the token endpoint that accepts it.
///
/// Immutable; clones are cheap.
#[derive(Clone)]
pub struct Binding(Arc<BindingParts>);

/// Members of a [`Binding`].
pub(crate) struct BindingParts {
    pub(crate) id: BindingId,
    pub(crate) identity: ClientIdentity,
    pub(crate) token_endpoint: Url,
    pub(crate) client_id: String,
    pub(crate) tenant_id: String,
    pub(crate) minted_at: SystemTime,
    pub(crate) renew_at: SystemTime,
    pub(crate) deadlines: BindingDeadlines,
}

/// Deadlines of a binding, which do not move with the clock of this machine.
#[derive(Clone, Copy)]
pub(crate) struct BindingDeadlines {
    pub(crate) renew_at: SteadyTime,
    pub(crate) usable_until: SteadyTime,
}

impl Binding {
    pub(crate) fn new(parts: BindingParts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn id(&self) -> &BindingId {
        &self.0.id
    }

    pub(crate) fn deadlines(&self) -> BindingDeadlines {
        self.0.deadlines
    }

    /// Returns the certificate and its key, for TLS handshakes with the token endpoint and with
    /// resource servers.
    ///
    /// `usable_until` is the end of the certificate, or the earlier time after which the token
    /// service no longer accepts it (`token_not_after`, docs/protocol/imdsv2.md#binding-lifetime).
    #[must_use]
    pub fn identity(&self) -> &ClientIdentity {
        &self.0.identity
    }

    /// Returns the URL for token requests with the certificate:
    /// `{mtls_authentication_endpoint}/{tenant}/oauth2/v2.0/token`.
    #[must_use]
    pub fn token_endpoint(&self) -> &Url {
        &self.0.token_endpoint
    }

    /// Returns the client id of the managed identity, for `client_id` of the token request. It is
    /// known even if the identity was requested by another kind of id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// Returns the tenant of the managed identity.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.0.tenant_id
    }

    /// Returns the time at which the certificate arrived: on the clock of this machine, or on that
    /// of its issuer if they differ.
    #[must_use]
    pub fn minted_at(&self) -> SystemTime {
        self.0.minted_at
    }

    /// Returns the time from which the next request for the binding renews it, on the clock of
    /// [`minted_at`](Self::minted_at).
    #[must_use]
    pub fn renew_at(&self) -> SystemTime {
        self.0.renew_at
    }

    /// Returns the time until the renewal is due; zero if it is. Setting the clock of this machine
    /// does not change it.
    #[must_use]
    pub fn time_until_renewal(&self, now: SteadyTime) -> Duration {
        self.0.deadlines.renew_at.since(now)
    }

    /// Returns a description of the binding for people.
    ///
    /// # Errors
    /// `invalid_certificate` when the certificate cannot be read.
    pub fn record(&self) -> Result<BindingRecord, Error> {
        let identity = self.identity();
        let record = BindingRecord::new(identity.chain(), &self.0.client_id, &self.0.tenant_id);
        record.map(|record| record.with_key_location(identity.key().location()))
    }
}

// Shows the strength of the key and the times, and hides the ids.
symbolon_types::debug_fields!(
    Binding |this|
    strength: this.0.identity.strength(), minted_at: this.0.minted_at, renew_at: this.0.renew_at,
    usable_until: this.0.identity.usable_until()
);
