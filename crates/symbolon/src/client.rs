//! HTTP clients for resources, with the tokens of this crate.

use symbolon_client::{Client, ClientBuilder, ProviderRequest, TokenProvider};
use symbolon_token::{Error, Token};

use crate::chain::CredentialChain;
use crate::identity::ManagedIdentity;

impl ManagedIdentity {
    /// Returns a builder of an HTTP client that calls a resource, such as
    /// `https://vault.azure.net`, with tokens of this identity.
    ///
    /// It has connections of its own, with the variables and the clock of this identity; its
    /// transport is not used.
    ///
    /// ```no_run
    /// # async fn example(identity: symbolon::ManagedIdentity) -> Result<(), symbolon::Error> {
    /// let client = identity.client("https://vault.azure.net").proof_of_possession().build()?;
    /// let response = client.get("https://contoso.vault.azure.net/secrets/x").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn client(&self, resource: impl Into<String>) -> ClientBuilder {
        Client::builder(self.clone(), resource).context(self.context().clone())
    }
}

impl TokenProvider for ManagedIdentity {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let token = Self::token(self, request.resource()).options(request.options());
        if request.proof_of_possession() { token.proof_of_possession().await } else { token.await }
    }

    async fn certificate_refused(&self, token: &Token) -> bool {
        self.0.token_client.certificate_refused(token).await
    }
}

impl CredentialChain {
    /// Returns a builder of an HTTP client that calls a resource, such as
    /// `https://vault.azure.net`, with tokens of this chain.
    ///
    /// It has connections of its own, with the variables and the clock of this chain; its transport
    /// is not used.
    pub fn client(&self, resource: impl Into<String>) -> ClientBuilder {
        Client::builder(self.clone(), resource).context(self.context().clone())
    }
}

impl TokenProvider for CredentialChain {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let token = Self::token(self, request.resource()).options(request.options());
        if request.proof_of_possession() { token.proof_of_possession().await } else { token.await }
    }

    async fn certificate_refused(&self, token: &Token) -> bool {
        match self.managed_identity() {
            Some(identity) => identity.certificate_refused(token).await,
            None => false,
        }
    }
}
