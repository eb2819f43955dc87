//! HTTP clients for resources, with the tokens of this crate.

use std::time::Duration;

use bytes::Bytes;
use symbolon_client::{Client, ClientBuilder, ProviderRequest, TokenProvider};
use symbolon_token::{Error, Token};
use symbolon_transport::SharedTransport;
use symbolon_types::Context;

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
    /// let client = identity.client("https://graph.microsoft.com").proof_of_possession().build()?;
    /// let response = client.get("https://mtlstb.graph.microsoft.com/v1.0/organization").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn client(&self, resource: impl Into<String>) -> ClientBuilder {
        Client::builder(self.clone(), resource)
    }

    /// Calls a resource with a token that you have, over the transport of this identity, with whole
    /// bodies. A bound token is sent only over a connection that presents its certificate.
    ///
    /// The rules are those of [`client`](Self::client), with its defaults: a deadline of a minute,
    /// one new token after a claims challenge, one new certificate after its refusal, and no `POST`
    /// or `PATCH` twice that the resource may have processed. Only a token of the same owner takes
    /// the place of yours. The response of any status is returned.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        call(self, self.0.token_client.transport(), token, request, None).await
    }

    /// Like [`call`](Self::call), with a limit for the head of the response, and for the wait for
    /// each part of its body.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn call_within(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
        limit: Duration,
    ) -> Result<http::Response<Bytes>, Error> {
        call(self, self.0.token_client.transport(), token, request, Some(limit)).await
    }
}

impl TokenProvider for ManagedIdentity {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let token = Self::token(self, request.resource()).options(request.options());
        if request.proof_of_possession() { token.proof_of_possession().await } else { token.await }
    }

    fn context(&self) -> Context {
        self.0.token_client.context().clone()
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
        Client::builder(self.clone(), resource)
    }

    /// Calls a resource with a token that you have, with whole bodies and by the rules of
    /// [`ManagedIdentity::call`].
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        call(self, self.transport_for(token), token, request, None).await
    }

    /// Like [`call`](Self::call), with the limit of [`ManagedIdentity::call_within`].
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn call_within(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
        limit: Duration,
    ) -> Result<http::Response<Bytes>, Error> {
        call(self, self.transport_for(token), token, request, Some(limit)).await
    }

    /// Returns the transport of the link that issues such tokens.
    fn transport_for(&self, token: &Token) -> &SharedTransport {
        let of_identity = self.managed_identity().filter(|_| token.bound_to().is_some());
        of_identity.map_or(self.transport(), |identity| identity.0.token_client.transport())
    }
}

impl TokenProvider for CredentialChain {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let token = Self::token(self, request.resource()).options(request.options());
        if request.proof_of_possession() { token.proof_of_possession().await } else { token.await }
    }

    fn context(&self) -> Context {
        Self::context(self).clone()
    }

    async fn certificate_refused(&self, token: &Token) -> bool {
        match self.managed_identity() {
            Some(identity) => identity.certificate_refused(token).await,
            None => false,
        }
    }
}

async fn call(
    provider: &(impl TokenProvider + Clone),
    transport: &SharedTransport,
    token: &Token,
    request: http::Request<Bytes>,
    limit: Option<Duration>,
) -> Result<http::Response<Bytes>, Error> {
    let client = Client::builder(provider.clone(), token.audience()).transport(transport.clone());
    let client = match limit {
        Some(limit) => client.deadline(limit).read_timeout(limit),
        None => client,
    };
    let client = if token.bound_to().is_some() { client.proof_of_possession() } else { client };
    client.build()?.call_with(token, request).await
}
