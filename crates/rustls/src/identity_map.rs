//! Values that belong to client identities.

use std::collections::HashMap;

use symbolon_types::{ClientIdentity, ServerAuth, Thumbprint, WeakClientIdentity};

/// Pairs of identity and server authentication that have a value. A process has a handful.
const CAPACITY: usize = 64;

/// A map from pairs of client identity, or none, and server authentication to values such as
/// configurations and connections.
///
/// A value is dropped when its identity has no other owner, at the next
/// [`drop_unowned`](Self::drop_unowned). There are at most 64 values; beyond that the least
/// recently used one is dropped.
#[derive(Debug)]
pub struct IdentityMap<V> {
    entries: HashMap<TlsKey, IdentityEntry<V>>,
    uses: u64,
}

/// The authentication of client and server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TlsKey {
    identity: Option<Thumbprint>,
    server: ServerAuth,
}

#[derive(Debug)]
struct IdentityEntry<V> {
    identity: Option<WeakClientIdentity>,
    value: V,
    last_use: u64,
}

impl<V> IdentityMap<V> {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: HashMap::new(), uses: 0 }
    }

    /// Returns the value of an identity and a server authentication, if there is one.
    pub fn get(&mut self, identity: Option<&ClientIdentity>, server: &ServerAuth) -> Option<&V> {
        self.uses += 1;
        let entry = self.entries.get_mut(&TlsKey::of(identity, server))?;
        entry.last_use = self.uses;
        Some(&entry.value)
    }

    /// Returns the value of an identity and a server authentication. Makes it first if there is
    /// none.
    pub fn get_or_insert_with(
        &mut self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        make: impl FnOnce() -> V,
    ) -> &V {
        let key = TlsKey::of(identity, server);
        if self.entries.len() >= CAPACITY && !self.entries.contains_key(&key) {
            let oldest =
                self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
        self.uses += 1;
        let entry = self.entries.entry(key).or_insert_with(|| IdentityEntry {
            identity: identity.map(ClientIdentity::downgrade),
            value: make(),
            last_use: 0,
        });
        entry.last_use = self.uses;
        &entry.value
    }

    /// Removes the value of an identity and a server authentication if it satisfies the condition.
    pub fn remove_if(
        &mut self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        condition: impl FnOnce(&V) -> bool,
    ) {
        let key = TlsKey::of(identity, server);
        if self.entries.get(&key).is_some_and(|entry| condition(&entry.value)) {
            self.entries.remove(&key);
        }
    }

    /// Drops the values whose identity has no other owner.
    pub fn drop_unowned(&mut self) {
        self.retain_owned(|_| true);
    }

    /// Drops the values whose identity has no other owner or does not satisfy the condition.
    pub fn retain_owned(&mut self, mut condition: impl FnMut(&ClientIdentity) -> bool) {
        self.entries.retain(|_, entry| match &entry.identity {
            Some(identity) => identity.upgrade().is_some_and(|identity| condition(&identity)),
            None => true,
        });
    }

    /// Iterates over the values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }
}

impl<V> Default for IdentityMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsKey {
    fn of(identity: Option<&ClientIdentity>, server: &ServerAuth) -> Self {
        Self { identity: identity.map(ClientIdentity::thumbprint), server: server.clone() }
    }
}
