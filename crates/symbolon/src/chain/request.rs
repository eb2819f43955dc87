//! The request for a token of a chain.

use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_token::{Error, RequestOptions, Token};
use symbolon_types::CorrelationId;

use super::credential_chain::CredentialChain;
use super::link::LinkRequest;

/// A request for a token; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ChainRequest<'a> {
    chain: &'a CredentialChain,
    request: LinkRequest<'a>,
}

impl CredentialChain {
    /// Requests a token for a resource, for example `https://vault.azure.net`.
    pub fn token<'a>(&'a self, resource: &'a str) -> ChainRequest<'a> {
        let options = RequestOptions::default();
        ChainRequest { chain: self, request: LinkRequest { resource, proof_of_possession: false, options } }
    }
}

impl<'a> ChainRequest<'a> {
    /// Requests a token that is bound to a key of this process, which only a managed identity has.
    /// The request is never downgraded, whatever the policy of the identity.
    pub fn proof_of_possession(mut self) -> Self {
        self.request.proof_of_possession = true;
        self
    }

    /// Adds the claims of a resource's claims challenge, as JSON. The request bypasses the cache,
    /// and the new token replaces the challenged one. A link that does not take claims fails with
    /// `claims_not_supported`: the tools, and most managed identity sources for bearer tokens.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.request.options = self.request.options.with_claims(challenge);
        self
    }

    /// Bypasses the token cache. A tool can have a cache of its own and return the same token.
    pub fn force_refresh(mut self) -> Self {
        self.request.options = self.request.options.with_force_refresh(true);
        self
    }

    /// Sets the id under which all services involved log the request. Tools do not take one.
    /// Default: a random one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.request.options = self.request.options.with_correlation_id(id);
        self
    }

    /// Sets all options that requests for tokens share, and replaces those set before. Tools take
    /// no options. Default: none.
    pub fn options(mut self, options: RequestOptions<'a>) -> Self {
        self.request.options = options;
        self
    }
}

impl<'a> IntoFuture for ChainRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = ChainFuture<'a>;

    fn into_future(self) -> ChainFuture<'a> {
        ChainFuture(Box::pin(self.chain.acquire(self.request)))
    }
}

symbolon_types::debug_fields!(
    ChainRequest<'_> |this|
    resource: this.request.resource, proof_of_possession: this.request.proof_of_possession,
    options: this.request.options
);

/// The future of a [`ChainRequest`].
pub struct ChainFuture<'a>(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>);

impl Future for ChainFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

symbolon_types::debug_fields!(ChainFuture<'_>);
