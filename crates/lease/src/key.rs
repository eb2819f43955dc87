//! Keys of the cache, and their borrowed forms.

use std::hash::Hash;

/// A lookup form of the key type `K`.
///
/// A borrowed form of a key implements it, so that a lookup builds no owned key. It must hash as
/// the key it stands for does.
pub trait LeaseKey<K>: Hash {
    /// Returns true if it stands for this key.
    fn matches(&self, key: &K) -> bool;

    /// Returns the key it stands for.
    fn to_key(&self) -> K;
}

impl<K: Hash + Eq + Clone> LeaseKey<K> for K {
    fn matches(&self, key: &K) -> bool {
        self == key
    }

    fn to_key(&self) -> K {
        self.clone()
    }
}
