//! The interface between the client and the origin of its tokens.

use std::fmt;

use async_trait::async_trait;
use symbolon_token::{RequestOptions, Token, TokenClient};
use symbolon_types::{Context, Error};

/// An origin of tokens for a client: a token client, a managed identity, a chain, the tokens of a
/// user.
///
/// A provider caches its tokens: a client requests one for each HTTP request.
pub trait TokenProvider: fmt::Debug + Send + Sync + 'static {
    /// Returns a token.
    ///
    /// A request for a bound token never leads to a bearer token, unless the user of the provider
    /// configured it so.
    fn token(&self, request: &ProviderRequest<'_>) -> impl Future<Output = Result<Token, Error>> + Send;

    /// Returns the variables, the clock and the randomness of clients with these tokens. Default:
    /// those of the process.
    fn context(&self) -> Context {
        Context::default()
    }

    /// Handles the refusal of the certificate of a bound token by a resource. Returns true if the
    /// next request for a token may lead to one with another certificate. The default is false.
    fn certificate_refused(&self, token: &Token) -> impl Future<Output = bool> + Send {
        let _ = token;
        std::future::ready(false)
    }
}

/// A request to a [`TokenProvider`].
#[derive(Clone, Copy, Debug)]
pub struct ProviderRequest<'a> {
    pub(crate) resource: &'a str,
    pub(crate) proof_of_possession: bool,
    pub(crate) options: RequestOptions<'a>,
}

impl<'a> ProviderRequest<'a> {
    /// Creates a request for a bearer token, for callers of a provider other than a client.
    pub fn bearer(resource: &'a str) -> Self {
        Self { resource, proof_of_possession: false, options: RequestOptions::default() }
    }

    /// Returns the resource or the scopes of the client, as its builder was given them.
    #[must_use]
    pub fn resource(&self) -> &'a str {
        self.resource
    }

    /// Returns true if the token must be bound to a certificate.
    #[must_use]
    pub fn proof_of_possession(&self) -> bool {
        self.proof_of_possession
    }

    /// Returns the options, with the claims of a challenge that the resource sent.
    pub fn options(&self) -> RequestOptions<'a> {
        self.options
    }
}

/// Tokens of the client itself for a resource, with or without `/.default`.
impl TokenProvider for TokenClient {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let token = self.token_for_resource(request.resource).options(request.options);
        if request.proof_of_possession { token.proof_of_possession().await } else { token.await }
    }

    fn context(&self) -> Context {
        Self::context(self).clone()
    }

    async fn certificate_refused(&self, token: &Token) -> bool {
        Self::certificate_refused(self, token).await
    }
}

/// The object-safe form of [`TokenProvider`].
#[async_trait]
pub(crate) trait ErasedProvider: fmt::Debug + Send + Sync {
    async fn token_erased(&self, request: &ProviderRequest<'_>) -> Result<Token, Error>;
    async fn certificate_refused_erased(&self, token: &Token) -> bool;
}

#[async_trait]
impl<P: TokenProvider> ErasedProvider for P {
    async fn token_erased(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        self.token(request).await
    }

    async fn certificate_refused_erased(&self, token: &Token) -> bool {
        self.certificate_refused(token).await
    }
}
