//! Where the key to certify comes from.

mod p256;
#[cfg(unix)]
mod persisted;
mod rsa;
mod software;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use symbolon_types::{Error, SharedSigningKey};

#[cfg(unix)]
pub use persisted::PersistedKeys;
pub use software::SoftwareKeys;

/// Yields the key that the next certificate will be for.
///
/// It is asked once for each mint, while the metadata request is under way, and may answer with a
/// new key or with the one it keeps. The key must be RSA of at least 2048 bits that offers
/// RSASSA-PSS with SHA-256, or ECDSA on P-256.
///
/// ```
/// use symbolon_binding::{Error, KeyProvider};
/// use symbolon_types::SharedSigningKey;
///
/// #[derive(Debug)]
/// struct OneKey(SharedSigningKey);
///
/// impl KeyProvider for OneKey {
///     async fn key(&self) -> Result<SharedSigningKey, Error> {
///         Ok(self.0.clone())
///     }
/// }
/// ```
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// The key to certify.
    ///
    /// # Errors
    /// When there is no key: [`ErrorKind::Environment`](crate::ErrorKind::Environment) says that
    /// this machine has none, and what to do about it.
    fn key(&self) -> impl Future<Output = Result<SharedSigningKey, Error>> + Send;
}

/// A handle on any [`KeyProvider`]; clones are cheap and ask the same provider.
#[derive(Clone, Debug)]
pub struct SharedKeyProvider(Arc<dyn ErasedKeyProvider>);

impl SharedKeyProvider {
    /// Shares a provider.
    pub fn new(provider: impl KeyProvider) -> Self {
        Self(Arc::new(provider))
    }
}

impl KeyProvider for SharedKeyProvider {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.0.boxed_key().await
    }
}

/// The twin of [`KeyProvider`] that can stand behind a pointer.
#[async_trait]
trait ErasedKeyProvider: fmt::Debug + Send + Sync {
    async fn boxed_key(&self) -> Result<SharedSigningKey, Error>;
}

#[async_trait]
impl<P: KeyProvider> ErasedKeyProvider for P {
    async fn boxed_key(&self) -> Result<SharedSigningKey, Error> {
        self.key().await
    }
}
