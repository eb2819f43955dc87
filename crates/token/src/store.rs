//! Token stores behind the cache.

mod cache_store;
#[cfg(feature = "conformance")]
pub mod conformance;
mod entry;
#[cfg(all(unix, feature = "file-store"))]
mod file_store;
mod memory;
#[cfg(feature = "sealed-store")]
mod sealed;
mod store_client;
mod store_key;

pub use cache_store::{CacheStore, LockOutcome, Precondition, PutOutcome, StoreLock, StoredEntry};
#[cfg(all(unix, feature = "file-store"))]
pub use file_store::FileStore;
pub use memory::MemoryStore;
#[cfg(feature = "sealed-store")]
pub use sealed::{SealedStore, SealingKey};
pub(crate) use store_client::{Lookup, StoreClient};
