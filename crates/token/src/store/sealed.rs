//! A store whose entries only key holders can read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use symbolon_types::{Error, ErrorKind};
use tracing::debug;
use zeroize::Zeroizing;

use super::{CacheStore, ErasedStore, Precondition, PutOutcome, StoredEntry};

/// The first byte of every sealed entry: another construction gets another number.
const VERSION: u8 = 1;
/// Of XChaCha20 (draft-irtf-cfrg-xchacha §2.1): long enough to be drawn at random, for any number
/// of entries.
const NONCE_LENGTH: usize = 24;
/// Its length stands in one byte.
const LONGEST_ID: usize = 255;

/// A [`CacheStore`] that keeps its entries sealed in another one, by XChaCha20-Poly1305.
///
/// An entry opens only under the key of the store under which it was put, so nobody who can write
/// to the store can exchange entries. What does not open is read as an entry without content,
/// which a [`TokenCache`](crate::TokenCache) takes for absent. Keys of the store, times to live and
/// the number of entries remain visible, and an older entry can be put back under its key.
///
/// To change keys: give the new one to every process with [`also_opened_by`](Self::also_opened_by),
/// then seal with the new one and open also with the old one, then leave the old one out.
///
/// ```
/// # use symbolon_token::{MemoryStore, SealedStore, SealingKey, TokenCache};
/// # use symbolon_types::{Jitter, SharedClock};
/// # fn example(new: [u8; 32], old: [u8; 32]) -> Result<(), symbolon_token::Error> {
/// let clock = SharedClock::system();
/// let shared = MemoryStore::new(clock.clone());
/// let sealed =
///     SealedStore::new(shared, SealingKey::new("2026-11", new)?).also_opened_by(SealingKey::new("2026-10", old)?);
/// let cache = TokenCache::new(1000, clock, Jitter::os()).with_store(sealed);
/// # Ok(()) }
/// # example([1; 32], [2; 32]).unwrap();
/// ```
#[derive(Clone)]
pub struct SealedStore {
    store: Arc<dyn ErasedStore>,
    sealing: SealingKey,
    /// Those that open but do not seal.
    retired: Vec<SealingKey>,
}

/// A key that seals entries, and its name. The key is overwritten when the last clone is dropped.
#[derive(Clone)]
pub struct SealingKey {
    id: Box<str>,
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl SealingKey {
    /// A key of 32 bytes from a cryptographic random source or a key derivation, not a password. The
    /// id stands beside each entry in the clear and says which key opens it.
    ///
    /// # Errors
    /// `invalid_sealing_key` if the id is empty or longer than 255 bytes.
    pub fn new(id: &str, key: impl Into<Zeroizing<[u8; 32]>>) -> Result<Self, Error> {
        if id.is_empty() || id.len() > LONGEST_ID {
            let error = "the id of a sealing key is empty or longer than 255 bytes";
            return Err(Error::new(ErrorKind::Request, "invalid_sealing_key", error)
                .with_advice("name it by its date or its version, for example"));
        }
        Ok(Self { id: id.into(), key: Arc::new(key.into()) })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(***self.key))
    }
}

impl SealedStore {
    /// Seals what goes into `store` with this key.
    pub fn new(store: impl CacheStore, key: SealingKey) -> Self {
        Self { store: Arc::new(store), sealing: key, retired: Vec::new() }
    }

    /// Opens also what this key sealed.
    #[must_use]
    pub fn also_opened_by(mut self, key: SealingKey) -> Self {
        self.retired.push(key);
        self
    }

    /// Version, length of the id, id, nonce, ciphertext with tag.
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

fn unsealable(why: &'static str) -> Error {
    Error::new(ErrorKind::Environment, "unsealable", format!("an entry of the token store was not sealed: {why}"))
        .with_advice("the token is kept in memory only")
}

impl CacheStore for SealedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, Error> {
        let Some(entry) = self.store.get_erased(key).await? else { return Ok(None) };
        let opened = self.open(key, entry.bytes());
        if opened.is_none() {
            debug!("an entry of the token store does not open");
        }
        // The version stays, so that the entry can be replaced.
        let version = entry.version().map(str::to_owned);
        let opened = StoredEntry::new(opened.unwrap_or_default());
        Ok(Some(version.map_or_else(|| opened.clone(), |version| opened.clone().with_version(version))))
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

    fn is_local_to_machine(&self) -> bool {
        self.store.is_local_to_machine_erased()
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Hides the key.
impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}
