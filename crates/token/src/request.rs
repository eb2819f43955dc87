//! A token request under construction.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use symbolon_transport::{Transport, within};
use symbolon_types::{CorrelationId, Error, ErrorKind};

use crate::claims::merge;
use crate::exchange::{Exchange, timed_out};
use crate::scope::Audience;
use crate::{CacheKey, ClientAuth, CredentialRequest, Token, TokenClient};

/// A token request under construction; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct TokenRequest<'a> {
    client: &'a TokenClient,
    audience: Audience<'a>,
    proof_of_possession: bool,
    claims: Option<&'a str>,
    client_claims: Option<&'a str>,
    force_refresh: bool,
    correlation_id: Option<CorrelationId>,
}

impl<'a> TokenRequest<'a> {
    pub(crate) fn new(client: &'a TokenClient, audience: Audience<'a>) -> Self {
        Self {
            client,
            audience,
            proof_of_possession: false,
            claims: None,
            client_claims: None,
            force_refresh: false,
            correlation_id: None,
        }
    }

    /// Asks for a token that is bound to the client's certificate (RFC 8705 §3).
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Adds the claims of a challenge, as JSON. The cache is not read; the token that comes
    /// replaces the challenged one.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.claims = Some(challenge).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Adds claims that the client itself originates, as JSON. They are part of the cache key by
    /// their exact text: the same text hits, another text misses.
    pub fn claims_from_client(mut self, claims: &'a str) -> Self {
        self.client_claims = Some(claims).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Does not read the cache.
    pub fn force_refresh(mut self) -> Self {
        self.force_refresh = true;
        self
    }

    /// Logs the request under this id at every service involved. Default: a new one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// The token, if it is in the cache and the credential is at hand. Allocates nothing.
    fn cached(&self) -> Option<Token> {
        if self.force_refresh || self.claims.is_some() {
            return None;
        }
        let wanted = CredentialRequest::new(self.proof_of_possession, self.correlation_id);
        let credential = &self.client.exchanger.credential;
        let auth = credential.resolve_erased(&wanted).if_ready()?.ok()?;
        self.client.cache.find(&self.key(&auth))
    }

    async fn acquire(self) -> Result<Token, Error> {
        let correlation_id = self.correlation_id.unwrap_or_else(CorrelationId::random);
        let exchanger = Arc::clone(&self.client.exchanger);
        let acquired =
            within(exchanger.http.clock(), exchanger.deadline, self.acquire_as(correlation_id)).await;
        acquired.unwrap_or_else(|| Err(timed_out())).map_err(|error| match error.correlation_id() {
            Some(_) => error,
            None => error.with_correlation_id(correlation_id),
        })
    }

    async fn acquire_as(self, correlation_id: CorrelationId) -> Result<Token, Error> {
        // What is wrong with the request is said before anything is minted or sent.
        let scope = self.audience.on_the_wire()?;
        let claims = merge(self.claims, self.client_claims, &self.client.capabilities)?;
        let exchanger = &self.client.exchanger;
        let capabilities = exchanger.http.transport().capabilities();
        if self.proof_of_possession && !capabilities.client_certificates() {
            return Err(no_client_certificates());
        }
        let wanted = CredentialRequest::new(self.proof_of_possession, Some(correlation_id));
        let auth = exchanger.credential.resolve_erased(&wanted).await?;
        self.check(&auth)?;
        let exchange = Exchange {
            exchanger: Arc::clone(exchanger),
            auth: auth.clone(),
            wanted,
            audience: self.audience.as_str().to_owned(),
            scope,
            client_claims: self.client_claims.map(str::to_owned),
            claims,
            correlation_id,
        };
        let key = self.key(&auth);
        let cache = &self.client.cache;
        match self.variant() {
            None => cache.obtain(&key, || exchange.run()).await,
            Some(variant) => cache.renew(&key, variant, || exchange.run()).await,
        }
    }

    /// A credential that would be refused, or a token that would not be what was asked for.
    fn check(&self, auth: &ClientAuth) -> Result<(), Error> {
        if self.proof_of_possession && auth.scheme().bound_to().is_none() {
            let error = "this credential cannot bind a token to a certificate; nothing was sent";
            return Err(Error::new(ErrorKind::Request, "mtls_certificate_not_provided", error)
                .with_advice("use a credential with a certificate, or ask for a bearer token"));
        }
        let Some(identity) = auth.identity() else { return Ok(()) };
        let exchanger = &self.client.exchanger;
        if !exchanger.http.transport().capabilities().client_certificates() {
            return Err(no_client_certificates());
        }
        let now = exchanger.http.clock().now();
        if now >= identity.usable_until() {
            let error = "the client certificate has expired; nothing was sent";
            return Err(Error::new(ErrorKind::Credential, "invalid_certificate", error)
                .with_advice("renew the certificate, and check the clock of this machine"));
        }
        Ok(())
    }

    /// What distinguishes a request that does not want the cached token.
    fn variant(&self) -> Option<&str> {
        self.claims.or(self.force_refresh.then_some(""))
    }

    fn key<'k>(&'k self, auth: &'k ClientAuth) -> CacheKey<'k> {
        CacheKey::of(auth, self.audience.as_str(), self.client_claims)
    }
}

fn no_client_certificates() -> Error {
    let error = "the transport cannot present a client certificate; nothing was sent";
    Error::new(ErrorKind::Request, "mtls_not_supported_by_transport", error)
        .with_advice("use a transport that declares client certificates, such as symbolon-hyper")
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("audience", &self.audience.as_str())
            .field("proof_of_possession", &self.proof_of_possession)
            .field("has_claims", &self.claims.is_some())
            .field("has_client_claims", &self.client_claims.is_some())
            .field("force_refresh", &self.force_refresh)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for TokenRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = TokenFuture<'a>;

    fn into_future(self) -> TokenFuture<'a> {
        TokenFuture(State::Asked(Some(self)))
    }
}

/// The future of a [`TokenRequest`]. A cache hit is ready at the first poll and allocates nothing.
pub struct TokenFuture<'a>(State<'a>);

enum State<'a> {
    Asked(Option<TokenRequest<'a>>),
    Acquiring(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>),
}

impl Future for TokenFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Asked(request) = &mut self.0
            && let Some(request) = request.take()
        {
            if let Some(token) = request.cached() {
                return Poll::Ready(Ok(token));
            }
            self.0 = State::Acquiring(Box::pin(request.acquire()));
        }
        match &mut self.0 {
            State::Acquiring(acquiring) => acquiring.as_mut().poll(context),
            // Polled again after it was ready, against the contract of `Future`.
            State::Asked(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for TokenFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFuture")
    }
}
