//! Credential and transport for bound calls of clients of the SDK.

use std::sync::Arc;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::{ClientOptions, Transport};
use azure_core::time::OffsetDateTime;
use symbolon_client::ClientBuilder;

use crate::placeholder;
use crate::transport::BoundTransport;

/// The end of the year 9999: a placeholder needs no renewal.
const NO_EXPIRY: i64 = 253_402_300_799;

/// A credential and a transport with which an unmodified client of the Azure SDK makes bound calls.
/// Clones are cheap and share connections.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
/// use symbolon_azure_core::BoundAuthentication;
///
/// let identity = symbolon::ManagedIdentity::builder().build()?;
/// let bound = BoundAuthentication::new(move |resource| identity.client(resource));
/// let options = SecretClientOptions { client_options: bound.client_options(), ..Default::default() };
/// let vault = SecretClient::new("https://contoso.vault.azure.net", bound.credential(), Some(options))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BoundAuthentication(Arc<BoundTransport>);

impl BoundAuthentication {
    /// Creates the pair. `client` returns the builder of a client for a resource, which the client
    /// of the SDK selects: its connections, limits and allowed hosts. Bound tokens are set here.
    pub fn new(client: impl Fn(&str) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self(Arc::new(BoundTransport::new(client)))
    }

    /// Returns the credential. Its tokens are placeholders, which are useless without the
    /// transport.
    #[must_use]
    pub fn credential(&self) -> Arc<dyn TokenCredential> {
        Arc::new(PlaceholderCredential)
    }

    /// Returns the transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::<BoundTransport>::clone(&self.0))
    }

    /// Returns default options with the transport.
    #[must_use]
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions { transport: Some(self.transport()), ..ClientOptions::default() }
    }
}

/// A credential whose tokens name their scope and nothing else.
#[derive(Clone, Copy, Debug)]
struct PlaceholderCredential;

#[async_trait::async_trait]
impl TokenCredential for PlaceholderCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let expires_on = OffsetDateTime::from_unix_timestamp(NO_EXPIRY)
            .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::Credential, error))?;
        Ok(AccessToken::new(placeholder::of_scope(&scopes.join(" ")), expires_on))
    }
}
