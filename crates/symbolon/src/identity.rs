//! A managed identity.

mod builder;
mod minter_options;

use std::sync::Arc;

use symbolon_binding::{Binding, BindingWatch, ManagedIdentityId, Minter};
use symbolon_token::{Token, TokenClient};
use symbolon_types::Strength;

pub use self::builder::ManagedIdentityBuilder;
use crate::bearer::BearerTokens;
use crate::capabilities::{HostCapabilities, HostProber};
use crate::detection::Detection;
use crate::downgrade::Downgrade;

/// The identity that Azure gave to this host, or one that was assigned to it. Clones are cheap and
/// share tokens, certificates and connections.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon::ManagedIdentity;
///
/// let identity = ManagedIdentity::builder().build()?;
/// let token = identity.token("https://vault.azure.net").await?;
/// let bound = identity.token("https://vault.azure.net").proof_of_possession().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ManagedIdentity(pub(crate) Arc<IdentityParts>);

#[derive(Debug)]
pub(crate) struct IdentityParts {
    pub(crate) id: ManagedIdentityId,
    pub(crate) bearer_tokens: BearerTokens,
    pub(crate) minter: Minter,
    pub(crate) token_client: TokenClient,
    prober: HostProber,
    pub(crate) minimum_strength: Option<Strength>,
    /// The strength of new keys, if it is known before there is one.
    new_key_strength: Option<Strength>,
    pub(crate) downgrade: Downgrade,
    pub(crate) is_imds_v2_disabled: bool,
}

impl ManagedIdentity {
    /// Removes a token that a resource refused from the cache, so that the next request gets
    /// another. A newer token in its place stays. Returns true if the token was in the cache.
    pub fn invalidate(&self, token: &Token) -> bool {
        self.0.token_client.invalidate(token)
    }

    /// Returns the id that the builder was given.
    #[must_use]
    pub fn id(&self) -> &ManagedIdentityId {
        &self.0.id
    }

    /// Returns the current certificate for bound tokens, with its strength and its deadlines, or
    /// `None` before the first is issued. Sends nothing.
    #[must_use]
    pub fn binding(&self) -> Option<Binding> {
        self.0.minter.held(&self.0.id)
    }

    /// Returns a watch that reports each change of the certificate: the first one, a renewal, a
    /// replacement after a refusal. `symbolon-rustls` makes TLS configurations from it.
    #[must_use]
    pub fn watch_binding(&self) -> BindingWatch {
        self.0.minter.watch(&self.0.id)
    }

    /// Returns the source of this environment and the reasons for it. Sends nothing, and looks at
    /// the environment once.
    #[must_use]
    pub fn detection(&self) -> &Detection {
        self.0.bearer_tokens.detection()
    }

    /// Returns the capabilities of this host: its source, the versions of its metadata service, and
    /// whether tokens can be bound.
    ///
    /// Only the metadata service is probed, with requests that it refuses, so that no token, no
    /// certificate and no key is created. Without a metadata service this takes less than a second
    /// and a half. A positive result is cached for one hour, a negative one for two minutes.
    pub async fn capabilities(&self) -> HostCapabilities {
        self.0.prober.capabilities(self.detection(), self.known_strength()).await
    }

    /// Returns the strength of the current key, or of the next one, if it is known.
    pub(crate) fn known_strength(&self) -> Option<Strength> {
        let current = self.binding().map(|binding| binding.identity().strength());
        current.or(self.0.new_key_strength)
    }
}
