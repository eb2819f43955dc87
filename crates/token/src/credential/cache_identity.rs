//! The part of a cache key that depends on the credential.

use std::borrow::Cow;

use symbolon_types::ClientIdentity;

use crate::token::{CacheKey, Partition, PartitionRef};

/// The part of a cache key that depends on the credential: the caller, and for a bound token the
/// certificate.
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheIdentity<'a> {
    partition: PartitionRef<'a>,
    is_bound: bool,
    bound_to: Option<Cow<'a, ClientIdentity>>,
}

impl<'a> CacheIdentity<'a> {
    /// Returns the identity of bearer tokens in this partition.
    pub fn bearer(partition: &'a Partition) -> Self {
        Self::in_tenant(partition, None)
    }

    /// Returns the identity of bearer tokens in the partition of another tenant.
    pub(crate) fn in_tenant(partition: &'a Partition, tenant: Option<&'a str>) -> Self {
        Self { partition: PartitionRef::in_tenant(partition, tenant), is_bound: false, bound_to: None }
    }

    /// Returns the same for tokens that are bound to this certificate.
    pub fn bound_to(mut self, identity: Cow<'a, ClientIdentity>) -> Self {
        self.is_bound = true;
        self.bound_to = Some(identity);
        self
    }

    /// Returns the same for bound tokens while no certificate is current: a request must
    /// authenticate first. Until it has, a token of an earlier certificate can be served.
    pub fn awaiting_certificate(mut self) -> Self {
        self.is_bound = true;
        self.bound_to = None;
        self
    }

    /// Returns `false` if a request must authenticate before its token can be looked up.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_bound || self.bound_to.is_some()
    }

    /// Returns the cache key of a token for this audience.
    pub(crate) fn key<'k>(&'k self, audience: &'k str) -> CacheKey<'k> {
        CacheKey {
            is_bound: self.is_bound,
            ..CacheKey::new(self.partition, self.bound_to.as_deref(), audience)
        }
    }

    pub(crate) fn partition(&self) -> Partition {
        self.partition.to_partition()
    }
}
