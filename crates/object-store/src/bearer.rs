//! Bearer tokens for Azure storage.

use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::azure::AzureCredential;
use symbolon_client::{Error, ErrorKind, ProviderRequest, TokenProvider};

use crate::failure::store_failed;

/// The scope of Azure storage, in all clouds.
pub const STORAGE: &str = "https://storage.azure.com/.default";

/// Credentials for Azure storage: the bearer tokens of a managed identity, a chain, a confidential
/// client or a user.
///
/// It never requests bound tokens; for these, use [`BoundStorage`](crate::BoundStorage).
///
/// ```
/// # fn example(identity: symbolon::ManagedIdentity) -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use object_store::azure::MicrosoftAzureBuilder;
/// use symbolon_object_store::BearerStorage;
///
/// let builder = MicrosoftAzureBuilder::new().with_credentials(Arc::new(BearerStorage::new(identity)));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BearerStorage<P>(P);

impl<P: TokenProvider> BearerStorage<P> {
    /// Creates credentials with the tokens of a provider.
    #[must_use]
    pub fn new(provider: P) -> Self {
        Self(provider)
    }
}

#[async_trait::async_trait]
impl<P: TokenProvider> CredentialProvider for BearerStorage<P> {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let token = self.0.token(&ProviderRequest::bearer(STORAGE)).await.map_err(store_failed)?;
        if token.bound_to().is_some() {
            let error =
                "the token is bound to a certificate, which the HTTP client of object_store does not present";
            return Err(store_failed(
                Error::new(ErrorKind::Request, "bound_token_refused", error)
                    .with_advice("use BoundStorage of symbolon-object-store for bound tokens"),
            ));
        }
        Ok(Arc::new(AzureCredential::BearerToken(token.secret().expose().to_owned())))
    }
}
