//! A request for a managed identity token under construction.

use std::fmt;

use symbolon_token::{Error, Token};
use symbolon_types::CorrelationId;

use crate::{Downgrade, ManagedIdentity, ManagedIdentityFuture};

/// A request for a token under construction; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ManagedIdentityRequest<'a> {
    pub(crate) identity: &'a ManagedIdentity,
    pub(crate) resource: &'a str,
    pub(crate) proof_of_possession: bool,
    pub(crate) over_mtls: bool,
    /// What to do where tokens cannot be bound: the identity's policy, unless somebody is stricter.
    pub(crate) downgrade: Downgrade,
    pub(crate) claims: Option<&'a str>,
    pub(crate) client_claims: Option<&'a str>,
    pub(crate) force_refresh: bool,
    pub(crate) correlation_id: Option<CorrelationId>,
}

impl<'a> ManagedIdentityRequest<'a> {
    pub(crate) fn new(identity: &'a ManagedIdentity, resource: &'a str) -> Self {
        Self {
            identity,
            resource,
            proof_of_possession: false,
            over_mtls: false,
            downgrade: identity.downgrade(),
            claims: None,
            client_claims: None,
            force_refresh: false,
            correlation_id: None,
        }
    }

    /// Asks for a token that is bound to a key of this process (IMDSv2, mTLS proof of
    /// possession). Where the host cannot bind, the request fails, unless the identity was made with
    /// another [`Downgrade`].
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Asks for a bearer token with the certificate that bound tokens are asked for with: whoever
    /// has the token may use it, but only who has the key gets one. For hosts whose keys the service
    /// does not take for bound tokens. Such tokens are cached apart. Never downgraded; with
    /// [`proof_of_possession`](Self::proof_of_possession) as well, the token is bound.
    pub fn over_mtls(mut self) -> Self {
        self.over_mtls = true;
        self
    }

    /// Adds the claims of a resource's challenge, as JSON. The cache is not read; the token that
    /// comes replaces the challenged one.
    ///
    /// Of the sources of bearer tokens, Service Fabric alone can do something about a challenge: it is told
    /// which token was refused, by its SHA-256, and drops its own copy. At the others a request for a bearer
    /// token with claims fails, `claims_not_supported`.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.claims = Some(challenge).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Adds claims that this client itself originates, as JSON. They key the cache by their exact
    /// text.
    pub fn claims_from_client(mut self, claims: &'a str) -> Self {
        self.client_claims = Some(claims).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Does not read the token cache. A certificate that was minted before is used again.
    ///
    /// A host may keep tokens itself, App Service for up to a day, and answer with the same one again.
    pub fn force_refresh(mut self) -> Self {
        self.force_refresh = true;
        self
    }

    /// Logs the request under this id at every service involved. Default: a new one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }
}

impl ManagedIdentityRequest<'_> {
    /// Whether it takes a certificate of the metadata service.
    pub(crate) fn takes_certificate(&self) -> bool {
        self.proof_of_possession || self.over_mtls
    }
}

impl<'a> IntoFuture for ManagedIdentityRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = ManagedIdentityFuture<'a>;

    fn into_future(self) -> ManagedIdentityFuture<'a> {
        ManagedIdentityFuture::new(self)
    }
}

impl fmt::Debug for ManagedIdentityRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityRequest")
            .field("resource", &self.resource)
            .field("proof_of_possession", &self.proof_of_possession)
            .field("over_mtls", &self.over_mtls)
            .field("has_claims", &self.claims.is_some())
            .field("has_client_claims", &self.client_claims.is_some())
            .field("force_refresh", &self.force_refresh)
            .finish_non_exhaustive()
    }
}
