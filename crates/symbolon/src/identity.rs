//! A managed identity.

mod builder;

use std::sync::Arc;

use bytes::Bytes;
use symbolon_binding::{Binding, BindingWatch, ManagedIdentityId, Minter};
use symbolon_token::{Error, Token, TokenClient};
use symbolon_types::Strength;

pub use self::builder::ManagedIdentityBuilder;
use crate::bearer::BearerTokens;
use crate::capabilities::Prober;
use crate::{Detection, Downgrade, HostCapabilities, ManagedIdentityRequest};

/// The identity that Azure gave to this machine, or one that a user assigned to it. Clones are
/// cheap and share tokens, certificates and connections.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon::ManagedIdentity;
///
/// let identity = ManagedIdentity::builder().build()?;
/// let token = identity.token("https://vault.azure.net").proof_of_possession().await?;
/// let request = http::Request::get("https://contoso.vault.azure.net/secrets/x").body(bytes::Bytes::new())?;
/// let response = identity.call(&token, request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ManagedIdentity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: ManagedIdentityId,
    bearer: BearerTokens,
    minter: Minter,
    bound: TokenClient,
    prober: Prober,
    minimum_strength: Option<Strength>,
    /// Of the keys that will be made, where that is known before there is one.
    key_strength: Option<Strength>,
    downgrade: Downgrade,
    is_v2_disabled: bool,
}

impl ManagedIdentity {
    /// Starts with the system-assigned identity.
    #[must_use]
    pub fn builder() -> ManagedIdentityBuilder {
        ManagedIdentityBuilder::new()
    }

    /// Asks for a token for a resource, for example `https://vault.azure.net`: a bearer token
    /// unless [`proof_of_possession`](ManagedIdentityRequest::proof_of_possession) is asked for.
    pub fn token<'a>(&'a self, resource: &'a str) -> ManagedIdentityRequest<'a> {
        ManagedIdentityRequest::new(self, resource)
    }

    /// Calls a resource with a token. For a bound token, header and certificate travel together or
    /// not at all. The answer is returned whatever its status; nothing is retried.
    ///
    /// # Errors
    /// `insecure_endpoint` if the URL is not `https`, and when there is no answer.
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        self.0.bound.call(token, request).await
    }

    /// Forgets a token that a resource refused, so that the next request gets another. A newer
    /// token in its place stays. Tells whether it was there.
    pub fn invalidate(&self, token: &Token) -> bool {
        self.0.bound.invalidate(token)
    }

    /// The id that it was built with.
    #[must_use]
    pub fn id(&self) -> &ManagedIdentityId {
        &self.0.id
    }

    /// The certificate that is held for bound tokens, with its strength and its deadlines; `None` before
    /// the first. Asks nobody.
    #[must_use]
    pub fn binding(&self) -> Option<Binding> {
        self.0.minter.held(&self.0.id)
    }

    /// Tells when that certificate changes: at the first request, at a renewal, at a refusal.
    #[must_use]
    pub fn watch_binding(&self) -> BindingWatch {
        self.0.minter.watch(&self.0.id)
    }

    /// Which source this environment has, and why. Asks nobody; looks once.
    #[must_use]
    pub fn detection(&self) -> &Detection {
        self.0.bearer.detection()
    }

    /// What this host can do: which source it has, which versions of the metadata service, and whether
    /// tokens can be bound.
    ///
    /// It asks the metadata service at most, with probes that it refuses, and takes under a second and a
    /// half where there is none. No token, no certificate and no key is made. What is there is
    /// believed for an hour, that nothing is for two minutes.
    pub async fn capabilities(&self) -> HostCapabilities {
        let held = self.binding().map(|binding| binding.identity().strength());
        self.0.prober.capabilities(self.detection(), held.or(self.0.key_strength)).await
    }

    pub(crate) fn downgrade(&self) -> Downgrade {
        self.0.downgrade
    }

    pub(crate) fn minimum_strength(&self) -> Option<Strength> {
        self.0.minimum_strength
    }

    pub(crate) fn is_v2_disabled(&self) -> bool {
        self.0.is_v2_disabled
    }

    pub(crate) fn bearer(&self) -> &BearerTokens {
        &self.0.bearer
    }

    pub(crate) fn bound(&self) -> &TokenClient {
        &self.0.bound
    }
}
