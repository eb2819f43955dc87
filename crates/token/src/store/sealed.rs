//! A store with encrypted entries.

use std::sync::Arc;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use symbolon_types::{Error, ErrorKind};
use tracing::debug;
use zeroize::Zeroizing;

use super::cache_store::{CacheStore, ErasedStore, LockOutcome, Precondition, PutOutcome, StoredEntry};

/// The first byte of every sealed entry, which changes with the construction.
const VERSION: u8 = 1;
/// The length of an XChaCha20 nonce (draft-irtf-cfrg-xchacha-03). Random nonces of this length are
/// safe for any number of entries.
const NONCE_LENGTH: usize = 24;
/// The maximum length of a key id, which is stored in one byte.
const LONGEST_ID: usize = 255;

/// A [`CacheStore`] that encrypts and authenticates its entries with XChaCha20-Poly1305 and keeps
/// them in another store.
///
/// An entry can be decrypted only under its store key, so that a party with write access cannot
/// exchange entries. An entry that cannot be decrypted is returned as empty, which a
/// [`TokenCache`](crate::TokenCache) treats as missing. Store keys, times to live and the number of
/// entries remain visible, and an older entry can be restored under its key.
///
/// To rotate the sealing key, first add the new key to every process with
/// [`also_opened_by`](Self::also_opened_by). Then seal with the new key and open with the old one
/// too. Finally remove the old key.
///
/// ```
/// # use symbolon_token::{MemoryStore, SealedStore, SealingKey, TokenCache};
/// # use symbolon_types::{Context, SharedClock};
/// # fn example(new: [u8; 32], old: [u8; 32]) -> Result<(), symbolon_token::Error> {
/// let clock = SharedClock::system();
/// let shared = MemoryStore::new(clock.clone());
/// let sealed =
///     SealedStore::new(shared, SealingKey::new("2026-11", new)?).also_opened_by(SealingKey::new("2026-10", old)?);
/// let cache = TokenCache::new(1000, &Context::default()).with_store(sealed);
/// # Ok(()) }
/// # example([1; 32], [2; 32]).unwrap();
/// ```
#[derive(Clone)]
pub struct SealedStore {
    store: Arc<dyn ErasedStore>,
    sealing: SealingKey,
    /// Keys that decrypt only.
    retired: Vec<SealingKey>,
}

/// A key of a [`SealedStore`], with its id. It is overwritten when the last clone is dropped.
#[derive(Clone)]
pub struct SealingKey {
    id: Box<str>,
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl SealingKey {
    /// Creates a key from 32 bytes of a cryptographic random source or a key derivation, not of a
    /// password. The id is stored in plain text in each entry and selects the key that decrypts it.
    ///
    /// # Errors
    /// `invalid_sealing_key` if the id is empty or longer than 255 bytes.
    pub fn new(id: &str, key: impl Into<Zeroizing<[u8; 32]>>) -> Result<Self, Error> {
        if id.is_empty() || id.len() > LONGEST_ID {
            let error = "the id of a sealing key is empty or longer than 255 bytes";
            return Err(Error::new(ErrorKind::Request, "invalid_sealing_key", error)
                .with_advice("use a date or a version, for example 2026-11"));
        }
        Ok(Self { id: id.into(), key: Arc::new(key.into()) })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(**self.key))
    }
}

impl SealedStore {
    /// Creates a store that keeps its entries in `store`, sealed with `key`.
    pub fn new(store: impl CacheStore, key: SealingKey) -> Self {
        // The first use of the cipher in a process asks for the features of the processor, which a
        // virtual machine answers slowly. No caller waits for a token yet.
        let _sealed = key.cipher().encrypt(&XNonce::default(), &b""[..]);
        Self { store: Arc::new(store), sealing: key, retired: Vec::new() }
    }

    /// Adds a key that decrypts entries, but does not seal new ones.
    #[must_use]
    pub fn also_opened_by(mut self, key: SealingKey) -> Self {
        self.retired.push(key);
        self
    }

    /// Returns version, length of the id, id, nonce, and ciphertext with tag.
    fn seal(&self, store_key: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| unsealable("the random source of this machine failed"))?;
        let id = self.sealing.id.as_bytes();
        let id_length = u8::try_from(id.len()).map_err(|_| unsealable("the id of the key is too long"))?;
        let mut sealed = [&[VERSION, id_length][..], id].concat();
        let aad = [&sealed[..], store_key.as_bytes()].concat();
        let payload = Payload { msg: plain, aad: &aad };
        let ciphertext = self.sealing.cipher().encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.map_err(|_| unsealable("the entry is too long"))?;
        sealed.extend(nonce);
        sealed.extend(ciphertext);
        Ok(sealed)
    }

    fn open(&self, store_key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&[version, id_length], rest) = sealed.split_first_chunk::<2>()?;
        if version != VERSION {
            return None;
        }
        let (id, rest) = rest.split_at_checked(usize::from(id_length))?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>()?;
        let header = sealed.len() - rest.len();
        let aad = [&sealed[..header], store_key.as_bytes()].concat();
        let open = |key: &SealingKey| {
            let payload = Payload { msg: ciphertext, aad: &aad };
            key.cipher().decrypt(&XNonce::from(*nonce), payload).ok()
        };
        let keys = std::iter::once(&self.sealing).chain(&self.retired);
        keys.filter(|key| key.id.as_bytes() == id).find_map(open)
    }
}

fn unsealable(reason: &'static str) -> Error {
    Error::new(
        ErrorKind::Environment,
        "unsealable",
        format!("an entry could not be encrypted for the token store: {reason}"),
    )
    .with_advice("no action is required; the token is kept in memory only")
}

impl CacheStore for SealedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let Some(entry) = self.store.get_erased(key).await? else { return Ok(None) };
        let opened = self.open(key, entry.bytes());
        if opened.is_none() {
            debug!("an entry of the token store could not be decrypted");
        }
        // The version is kept, so that the entry can be replaced.
        let bytes = Zeroizing::new(opened.unwrap_or_default());
        Ok(Some(StoredEntry { bytes, version: entry.version }))
    }

    async fn put(
        &self,
        key: &str,
        entry: &[u8],
        ttl: Duration,
        precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        let sealed = self.seal(key, entry)?;
        self.store.put_erased(key, &sealed, ttl, precondition).await
    }

    async fn remove(&self, key: &str, precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        self.store.remove_erased(key, precondition).await
    }

    async fn lock(&self, key: &str, read: Option<&str>) -> Result<LockOutcome, Error> {
        self.store.lock_erased(key, read).await
    }

    fn is_local_to_machine(&self) -> bool {
        self.store.is_local_to_machine_erased()
    }
}

symbolon_types::debug_fields!(SealedStore: store);

// Hides the key.
symbolon_types::debug_fields!(SealingKey: id);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use symbolon_types::SharedClock;

    use super::*;
    use crate::store::memory::MemoryStore;

    fn key(id: &str, byte: u8) -> SealingKey {
        SealingKey::new(id, [byte; 32]).unwrap()
    }

    fn memory() -> MemoryStore {
        MemoryStore::new(SharedClock::system())
    }

    fn put(store: &impl CacheStore, key: &str, entry: &[u8]) {
        let put = store.put(key, entry, Duration::from_secs(60), Precondition::None);
        assert_eq!(put.now_or_never().unwrap().unwrap(), PutOutcome::Done);
    }

    fn get(store: &impl CacheStore, key: &str) -> StoredEntry {
        store.get(key).now_or_never().unwrap().unwrap().unwrap()
    }

    #[test]
    fn sealed_entry_is_encrypted() {
        let below = memory();
        let store = SealedStore::new(below.clone(), key("one", 1));
        put(&store, "k", b"a secret token");
        assert_eq!(get(&store, "k").bytes(), b"a secret token");
        let sealed = get(&below, "k");
        assert!(!sealed.bytes().windows(6).any(|window| window == b"secret"));
        put(&store, "k", b"a secret token");
        assert_ne!(get(&below, "k").bytes(), sealed.bytes(), "another nonce");
        assert_eq!(format!("{:?}", key("one", 1)), "SealingKey { id: \"one\", .. }");
    }

    #[test]
    fn damaged_entry_is_refused() {
        let below = memory();
        let store = SealedStore::new(below.clone(), key("one", 1));
        put(&store, "k", b"entry");
        let sealed = get(&below, "k").bytes().to_vec();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(store.open("k", &damaged), None, "byte {at}");
            assert_eq!(store.open("k", &sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(store.open("k", &sealed).as_deref(), Some(&b"entry"[..]));
    }

    #[test]
    fn entry_is_bound_to_its_store_key() {
        let below = memory();
        let store = SealedStore::new(below.clone(), key("one", 1));
        put(&store, "mine", b"entry");
        put(&below, "yours", get(&below, "mine").bytes());
        let moved = get(&store, "yours");
        assert_eq!(moved.bytes(), b"");
        assert!(moved.version().is_some(), "the entry can be replaced");
    }

    #[test]
    fn sealing_key_can_be_rotated() {
        let below = memory();
        let old = SealedStore::new(below.clone(), key("old", 1));
        put(&old, "k", b"old entry");
        let both = SealedStore::new(below.clone(), key("new", 2)).also_opened_by(key("old", 1));
        assert_eq!(get(&both, "k").bytes(), b"old entry");
        put(&both, "k", b"new entry");
        let new = SealedStore::new(below.clone(), key("new", 2));
        assert_eq!(get(&new, "k").bytes(), b"new entry");
        assert_eq!(get(&old, "k").bytes(), b"");
        // Another key with the same id.
        assert_eq!(get(&SealedStore::new(below, key("new", 3)), "k").bytes(), b"");
    }

    #[test]
    fn length_of_key_id_is_limited() {
        for (id, fits) in [("", false), (&*"x".repeat(255), true), (&*"x".repeat(256), false)] {
            assert_eq!(SealingKey::new(id, [0; 32]).is_ok(), fits, "{}", id.len());
        }
    }

    #[test]
    fn version_and_locality_are_passed_through() {
        let below = memory();
        let store = SealedStore::new(below.clone(), key("one", 1));
        put(&store, "k", b"entry");
        assert_eq!(get(&store, "k").version(), get(&below, "k").version());
        let outdated = store.put("k", b"", Duration::from_secs(60), Precondition::Unchanged("none"));
        assert_eq!(outdated.now_or_never().unwrap().unwrap(), PutOutcome::Conflict);
        assert!(store.is_local_to_machine());
        assert!(!SealedStore::new(below.as_if_shared(), key("one", 1)).is_local_to_machine());
    }
}
