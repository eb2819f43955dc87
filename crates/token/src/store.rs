//! Token stores behind the cache.

mod cache_store;
#[cfg(feature = "conformance")]
pub mod conformance;
mod entry;
mod memory;
#[cfg(feature = "sealed-store")]
mod sealed;
mod store_client;
mod store_key;

pub use cache_store::{CacheStore, Precondition, PutOutcome, StoreLock, StoredEntry};
pub use memory::MemoryStore;
#[cfg(feature = "sealed-store")]
pub use sealed::{SealedStore, SealingKey};
pub(crate) use store_client::StoreClient;
