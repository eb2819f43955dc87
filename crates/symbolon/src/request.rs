//! The request for a token of a managed identity.

use symbolon_token::RequestOptions;
use symbolon_types::{CorrelationId, Strength};

use crate::downgrade::Downgrade;
use crate::identity::ManagedIdentity;

/// A request for a token; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ManagedIdentityRequest<'a> {
    pub(crate) identity: &'a ManagedIdentity,
    pub(crate) resource: &'a str,
    pub(crate) proof_of_possession: bool,
    pub(crate) over_mtls: bool,
    pub(crate) minimum_strength: Option<Strength>,
    /// The identity's policy, unless a chain is stricter.
    pub(crate) downgrade: Downgrade,
    pub(crate) options: RequestOptions<'a>,
}

impl ManagedIdentity {
    /// Requests a token for a resource, for example `https://vault.azure.net`: a bearer token,
    /// unless [`proof_of_possession`](ManagedIdentityRequest::proof_of_possession) is called.
    ///
    /// Its tokens are cached by resource and kind, and by the client's own claims. There is no
    /// further part of the key, as `TokenRequest::cache_key_part` is for an application: hosts have
    /// caches of their own, and would return the same token for each value. An identity with a
    /// [cache](crate::ManagedIdentityBuilder::cache) of its own keeps its tokens apart.
    ///
    /// A suffix `/.default` is removed. Otherwise the text is sent as it is, and the service
    /// validates it.
    pub fn token<'a>(&'a self, resource: &'a str) -> ManagedIdentityRequest<'a> {
        ManagedIdentityRequest {
            identity: self,
            resource,
            proof_of_possession: false,
            over_mtls: false,
            minimum_strength: None,
            downgrade: self.0.downgrade,
            options: RequestOptions::default(),
        }
    }
}

impl<'a> ManagedIdentityRequest<'a> {
    /// Requests a token that is bound to a key of this process (IMDSv2, mTLS proof-of-possession).
    /// The request fails on a host that cannot bind tokens, unless the identity has another
    /// [`Downgrade`] policy.
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Requests a bearer token over mTLS, with the managed identity's certificate: anybody who has
    /// the token can use it, but only the owner of the key obtains one. Use it where the token
    /// service refuses to bind tokens to the keys of this host. These tokens are cached separately
    /// and the request is never downgraded. Together with
    /// [`proof_of_possession`](Self::proof_of_possession), the token is bound.
    pub fn over_mtls(mut self) -> Self {
        self.over_mtls = true;
        self
    }

    /// Refuses a certificate whose key is protected less well than this, in addition to the
    /// [requirement of the identity](crate::ManagedIdentityBuilder::minimum_strength), with
    /// `min_strength_not_met`: before anything is sent, if the strength is known. The option does
    /// not select a key. Requests without a certificate ignore it.
    pub fn minimum_strength(mut self, minimum: Strength) -> Self {
        self.minimum_strength = Some(minimum);
        self
    }

    /// Adds the claims of a resource's claims challenge, as JSON. The request bypasses the cache,
    /// and the new token replaces the challenged one. The certificate of a bound token stays the
    /// same.
    ///
    /// Of the sources of bearer tokens, only Service Fabric supports challenges: it receives the
    /// SHA-256 of the refused token and discards its own copy. At all others a request for a bearer
    /// token with claims fails with `claims_not_supported`.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.options = self.options.with_claims(challenge);
        self
    }

    /// Adds claims of the client itself, as JSON. Tokens are cached per exact text of these claims.
    pub fn claims_from_client(mut self, claims: &'a str) -> Self {
        self.options = self.options.with_client_claims(claims);
        self
    }

    /// Bypasses the token cache. An existing certificate is used again.
    ///
    /// A host can have a cache of its own, App Service for up to a day, and return the same token.
    pub fn force_refresh(mut self) -> Self {
        self.options = self.options.with_force_refresh(true);
        self
    }

    /// Sets the id under which all services involved log the request. Default: a random one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options = self.options.with_correlation_id(id);
        self
    }

    /// Sets all options that requests for tokens share, and replaces those set before. Default:
    /// none, and the deadline of the identity.
    pub fn options(mut self, options: RequestOptions<'a>) -> Self {
        self.options = options;
        self
    }

    /// Returns true if the request needs a certificate of the metadata service.
    pub(crate) fn needs_certificate(&self) -> bool {
        self.proof_of_possession || self.over_mtls
    }
}

symbolon_types::debug_fields!(ManagedIdentityRequest<'_>: resource, proof_of_possession, over_mtls, options);
