//! Providers of the keys to certify.

mod p256;
#[cfg(unix)]
mod persisted;
mod rsa;
mod software;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use symbolon_types::{Error, SharedSigningKey, catch_panic_of};

#[cfg(unix)]
pub use persisted::PersistedKeys;
pub use software::SoftwareKeys;

/// Provider of the key for the next certificate.
///
/// It is called once for each mint, in parallel with the metadata request, and may return a new key
/// or always the same one. The key must be an RSA key of at least 2048 bits that signs with
/// RSASSA-PSS and SHA-256, or an ECDSA key on P-256.
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
    /// Returns the key to certify.
    ///
    /// # Errors
    /// When there is no key. Use [`ErrorKind::Environment`](crate::ErrorKind::Environment) for a
    /// machine without one, with advice. A panic becomes the error `panicked`.
    fn key(&self) -> impl Future<Output = Result<SharedSigningKey, Error>> + Send;
}

/// Shared handle of a [`KeyProvider`]. Clones are cheap and use the same provider.
#[derive(Clone, Debug)]
pub struct SharedKeyProvider(Arc<dyn ErasedKeyProvider>);

impl SharedKeyProvider {
    /// Creates a handle of a provider.
    pub fn new(provider: impl KeyProvider) -> Self {
        Self(Arc::new(provider))
    }
}

impl KeyProvider for SharedKeyProvider {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.0.boxed_key().await
    }
}

/// Object-safe version of [`KeyProvider`].
#[async_trait]
trait ErasedKeyProvider: fmt::Debug + Send + Sync {
    async fn boxed_key(&self) -> Result<SharedSigningKey, Error>;
}

#[async_trait]
impl<P: KeyProvider> ErasedKeyProvider for P {
    async fn boxed_key(&self) -> Result<SharedSigningKey, Error> {
        catch_panic_of("the key provider", || self.key()).await.unwrap_or_else(Err)
    }
}
