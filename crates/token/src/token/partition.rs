//! Partitions of the token cache: one for each caller.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The part of a cache key that names the caller. Its text must differ wherever two requests to
/// one issuer come from different callers. Clones are cheap.
#[derive(Clone)]
pub struct Partition(Arc<PartitionParts>);

struct PartitionParts {
    caller: Arc<Caller>,
    /// In lower case; empty for a partition without a tenant.
    tenant: Box<str>,
    /// Computed once, because every lookup hashes a partition.
    digest: u64,
}

/// Everything but the tenant. The partitions of a caller's tenants share it.
struct Caller {
    before_tenant: Box<str>,
    after_tenant: Box<str>,
    is_machine_bound: bool,
    digest: u64,
}

impl Partition {
    /// Creates a partition of this name.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self::of_caller(text.into(), "", "", false)
    }

    /// Creates a partition whose name is valid on this machine only: a system-assigned identity has
    /// the same name on every machine, and is a different identity on each. Its tokens are not
    /// written to a [`CacheStore`](crate::CacheStore) that machines share.
    pub fn machine_bound(text: impl Into<Box<str>>) -> Self {
        Self::of_caller(text.into(), "", "", true)
    }

    /// Creates a partition of a tenant, in lower case. Its name is the three texts together.
    pub(crate) fn of_tenant(before_tenant: &str, tenant: &str, after_tenant: &str) -> Self {
        Self::of_caller(before_tenant.into(), tenant, after_tenant, false)
    }

    fn of_caller(before_tenant: Box<str>, tenant: &str, after_tenant: &str, is_machine_bound: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (&before_tenant, after_tenant, is_machine_bound).hash(&mut hasher);
        let digest = hasher.finish();
        let caller = Caller { before_tenant, after_tenant: after_tenant.into(), is_machine_bound, digest };
        Self::in_tenant(&Arc::new(caller), tenant)
    }

    fn in_tenant(caller: &Arc<Caller>, tenant: &str) -> Self {
        let digest = digest_in_tenant(caller.digest, tenant);
        Self(Arc::new(PartitionParts { caller: Arc::clone(caller), tenant: tenant.into(), digest }))
    }

    /// Returns the tenant of a partition that differs from this one in its tenant only.
    pub(crate) fn tenant_of<'p>(&self, other: &'p PartitionRef<'_>) -> Option<&'p str> {
        self.is_same_caller(other.base).then(|| other.tenant())
    }

    fn is_same_caller(&self, other: &Self) -> bool {
        let (one, two) = (&self.0.caller, &other.0.caller);
        Arc::ptr_eq(one, two)
            || (one.digest == two.digest
                && one.is_machine_bound == two.is_machine_bound
                && one.before_tenant == two.before_tenant
                && one.after_tenant == two.after_tenant)
    }
}

impl PartialEq for Partition {
    fn eq(&self, other: &Self) -> bool {
        PartitionRef::from(self).is(other)
    }
}

impl Eq for Partition {}

impl Hash for Partition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.digest);
    }
}

// Hides the text: it names clients and tenants.
symbolon_types::debug_fields!(Partition);

/// A borrowed partition, possibly with another tenant, so that a lookup builds no new partition.
#[derive(Clone, Copy)]
pub(crate) struct PartitionRef<'a> {
    base: &'a Partition,
    /// The tenant instead of the partition's own, in any case.
    tenant: Option<&'a str>,
    digest: u64,
}

impl<'a> PartitionRef<'a> {
    /// Returns the partition of this tenant, or the partition itself without one.
    pub(crate) fn in_tenant(base: &'a Partition, tenant: Option<&'a str>) -> Self {
        let digest = match tenant {
            None => base.0.digest,
            Some(tenant) => digest_in_tenant(base.0.caller.digest, tenant),
        };
        Self { base, tenant, digest }
    }

    /// Compares with an owned partition.
    pub(crate) fn is(&self, other: &Partition) -> bool {
        if self.tenant.is_none() && Arc::ptr_eq(&self.base.0, &other.0) {
            return true;
        }
        self.digest == other.0.digest
            && self.base.is_same_caller(other)
            && self.tenant().eq_ignore_ascii_case(&other.0.tenant)
    }

    pub(crate) fn to_partition(self) -> Partition {
        match self.tenant {
            None => self.base.clone(),
            Some(tenant) => Partition::in_tenant(&self.base.0.caller, &tenant.to_ascii_lowercase()),
        }
    }

    /// Returns the name of the partition.
    pub(crate) fn text(&self) -> String {
        let Caller { before_tenant, after_tenant, .. } = &*self.base.0.caller;
        format!("{before_tenant}{}{after_tenant}", self.tenant().to_ascii_lowercase())
    }

    pub(crate) fn is_machine_bound(&self) -> bool {
        self.base.0.caller.is_machine_bound
    }

    fn tenant(&self) -> &str {
        self.tenant.unwrap_or(&self.base.0.tenant)
    }
}

impl<'a> From<&'a Partition> for PartitionRef<'a> {
    fn from(partition: &'a Partition) -> Self {
        Self::in_tenant(partition, None)
    }
}

impl Hash for PartitionRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

symbolon_types::debug_fields!(PartitionRef<'_>);

/// Hashes the tenant in lower case, without allocating.
fn digest_in_tenant(caller_digest: u64, tenant: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(caller_digest);
    for piece in tenant.as_bytes().chunks(64) {
        let mut lower = [0; 64];
        let lower = &mut lower[..piece.len()];
        lower.copy_from_slice(piece);
        lower.make_ascii_lowercase();
        hasher.write(lower);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_tenant_equals_owned_partition() {
        let base = Partition::of_tenant("app ", "contoso.com", " client");
        for (tenant, text) in [
            (None, "app contoso.com client"),
            (Some("Contoso.COM"), "app contoso.com client"),
            (Some("Fabrikam.com"), "app fabrikam.com client"),
        ] {
            let borrowed = PartitionRef::in_tenant(&base, tenant);
            let owned = borrowed.to_partition();
            assert!(borrowed.is(&owned) && borrowed.digest == owned.0.digest, "{tenant:?}");
            assert_eq!(borrowed.is(&base), tenant != Some("Fabrikam.com"), "{tenant:?}");
            assert_eq!(
                (borrowed.text(), PartitionRef::from(&owned).text()),
                (text.to_owned(), text.to_owned())
            );
            assert!(base.tenant_of(&PartitionRef::from(&owned)).is_some());
        }
        let other = Partition::of_tenant("app ", "contoso.com", " other");
        assert!(!PartitionRef::in_tenant(&base, None).is(&other));
        assert_eq!(base.tenant_of(&PartitionRef::from(&other)), None);
        assert_ne!(Partition::new("a"), Partition::machine_bound("a"));
    }
}
