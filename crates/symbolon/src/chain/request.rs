//! A request to a chain under construction.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_token::{Error, Token};
use symbolon_types::CorrelationId;

use super::CredentialChain;

/// A request for a token under construction; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ChainRequest<'a> {
    chain: &'a CredentialChain,
    pub(super) resource: &'a str,
    pub(super) proof_of_possession: bool,
    pub(super) claims: Option<&'a str>,
    pub(super) force_refresh: bool,
    pub(super) correlation_id: Option<CorrelationId>,
}

impl<'a> ChainRequest<'a> {
    pub(super) fn new(chain: &'a CredentialChain, resource: &'a str) -> Self {
        Self {
            chain,
            resource,
            proof_of_possession: false,
            claims: None,
            force_refresh: false,
            correlation_id: None,
        }
    }

    /// Asks for a token that is bound to a key of this process, which only the managed identity has.
    /// Never downgraded, whatever the policy of that identity.
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Adds the claims of a resource's challenge, as JSON. The cache is not read; the token that
    /// comes replaces the challenged one. A link that cannot pass them on fails,
    /// `claims_not_supported`: most sources of managed identities for bearer tokens, and the tools.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.claims = Some(challenge).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Does not read the token cache. Tools keep tokens themselves and may answer with the same one again.
    pub fn force_refresh(mut self) -> Self {
        self.force_refresh = true;
        self
    }

    /// Logs the request under this id at every service involved; tools take none. Default: a new one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }
}

impl<'a> IntoFuture for ChainRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = ChainFuture<'a>;

    fn into_future(self) -> ChainFuture<'a> {
        ChainFuture(Box::pin(self.chain.ask(self)))
    }
}

impl fmt::Debug for ChainRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainRequest")
            .field("resource", &self.resource)
            .field("proof_of_possession", &self.proof_of_possession)
            .field("has_claims", &self.claims.is_some())
            .field("force_refresh", &self.force_refresh)
            .finish_non_exhaustive()
    }
}

/// The future of a [`ChainRequest`].
pub struct ChainFuture<'a>(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>);

impl Future for ChainFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for ChainFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainFuture")
    }
}
