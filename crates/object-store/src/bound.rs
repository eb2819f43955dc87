//! Credentials and connector for bound calls of object_store.

use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::azure::{AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder};
use symbolon_client::{Client, ClientBuilder, Error};

use crate::connector::{BoundConnector, PLACEHOLDER};

/// Credentials and a connector with which object_store makes bound calls to Azure storage. Clones
/// are cheap and share connections.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use object_store::azure::MicrosoftAzureBuilder;
/// use symbolon_object_store::{BoundStorage, STORAGE};
///
/// let identity = symbolon::ManagedIdentity::builder().build()?;
/// let storage = BoundStorage::new(identity.client(STORAGE))?;
/// let builder = MicrosoftAzureBuilder::new().with_account("contoso").with_container_name("reports");
/// let store = storage.configure(builder).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BoundStorage(Client);

impl BoundStorage {
    /// Creates the pair from the builder of a client for [`STORAGE`](crate::STORAGE), with its
    /// connections and limits. Bound tokens are set here.
    ///
    /// # Errors
    /// Those of [`ClientBuilder::build`].
    pub fn new(client: ClientBuilder) -> Result<Self, Error> {
        Ok(Self(client.proof_of_possession().any_host().build()?))
    }

    /// Returns the credentials. They are a placeholder, which is useless without the connector.
    #[must_use]
    pub fn credentials(&self) -> AzureCredentialProvider {
        Arc::new(PlaceholderCredentials)
    }

    /// Returns the connector.
    #[must_use]
    pub fn connector(&self) -> BoundConnector {
        BoundConnector(self.0.clone())
    }

    /// Sets both in the builder of a store.
    #[must_use]
    pub fn configure(&self, builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
        builder.with_credentials(self.credentials()).with_http_connector(self.connector())
    }
}

#[derive(Clone, Copy, Debug)]
struct PlaceholderCredentials;

#[async_trait::async_trait]
impl CredentialProvider for PlaceholderCredentials {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        Ok(Arc::new(AzureCredential::BearerToken(PLACEHOLDER.to_owned())))
    }
}
