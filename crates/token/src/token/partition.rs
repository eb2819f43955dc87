//! Who is asking, for the cache.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Who is asking, for the cache: whatever makes two requests to one issuer different callers must
/// be in its text. Clones are cheap, and clones compare in no time.
#[derive(Clone)]
pub struct Partition(Arc<Inner>);

struct Inner {
    text: Box<str>,
    is_machine_bound: bool,
    /// Computed once, because a partition is part of every look-up.
    digest: u64,
}

impl Partition {
    /// A partition of this name.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self::of(text.into(), false)
    }

    /// A partition of this name, which says who is asking on this machine only: a system-assigned
    /// identity has the same name on every machine, and is another one on each. Its tokens are
    /// kept in no [`CacheStore`](crate::CacheStore) that machines share.
    pub fn machine_bound(text: impl Into<Box<str>>) -> Self {
        Self::of(text.into(), true)
    }

    fn of(text: Box<str>, is_machine_bound: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (&text, is_machine_bound).hash(&mut hasher);
        Self(Arc::new(Inner { text, is_machine_bound, digest: hasher.finish() }))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn is_machine_bound(&self) -> bool {
        self.0.is_machine_bound
    }
}

impl PartialEq for Partition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.digest == other.0.digest
                && self.0.is_machine_bound == other.0.is_machine_bound
                && self.0.text == other.0.text)
    }
}

impl Eq for Partition {}

impl Hash for Partition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.digest);
    }
}

/// Hides the text: it names clients and tenants.
impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Partition")
    }
}
