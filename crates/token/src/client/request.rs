//! A token request under construction.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use symbolon_transport::{Transport, timeout};
use symbolon_types::{CorrelationId, Error, ErrorKind};

use super::exchange::Exchange;
use super::parts::{ClientParts, timed_out};
use crate::cache::events;
use crate::credential::{ClientAuth, CredentialRequest, Purpose};
use crate::oauth::{Audience, Caching, FetchReason, Grant, Parameters, RoutingHint, Subject, merge_claims};
use crate::token::{CacheKey, Token};

/// A token request under construction; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct TokenRequest<'a> {
    parts: &'a Arc<ClientParts>,
    audience: Audience<'a>,
    user: Option<Box<ForUser>>,
    proof_of_possession: bool,
    tenant: Option<&'a str>,
    claims: Option<&'a str>,
    client_claims: Option<&'a str>,
    parameters: Parameters,
    routing_hint: Option<Box<RoutingHint>>,
    force_refresh: bool,
    correlation_id: Option<CorrelationId>,
}

/// What a request about a user is founded on.
#[derive(Clone)]
struct ForUser {
    grant: Grant,
    subject: Subject,
}

impl<'a> TokenRequest<'a> {
    #[inline]
    pub(crate) fn new(parts: &'a Arc<ClientParts>, audience: Audience<'a>) -> Self {
        Self {
            parts,
            audience,
            user: None,
            proof_of_possession: false,
            tenant: None,
            claims: None,
            client_claims: None,
            parameters: Parameters::default(),
            routing_hint: None,
            force_refresh: false,
            correlation_id: None,
        }
    }

    pub(crate) fn for_user(
        parts: &'a Arc<ClientParts>,
        audience: Audience<'a>,
        grant: Grant,
        subject: Subject,
    ) -> Self {
        Self { user: Some(Box::new(ForUser { grant, subject })), ..Self::new(parts, audience) }
    }

    /// Asks for a token that is bound to the client's certificate (RFC 8705 §3).
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Asks in this tenant instead of the client's own; its tokens are cached apart.
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
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

    /// Adds a parameter of your own to the body of the request.
    pub fn body_parameter(mut self, name: &str, value: &str, caching: Caching) -> Self {
        self.parameters.add_to_body(name, value, caching);
        self
    }

    /// Adds a parameter of your own to the query of the token endpoint. (Three that MSAL's users know go
    /// into the telemetry instead: see the documentation of the crate.)
    pub fn query_parameter(mut self, name: &str, value: &str, caching: Caching) -> Self {
        self.parameters.add_to_query(name, value, caching);
        self
    }

    /// Says where Entra's backup finds the user, for a request about one. It is no part of the cache
    /// key, and a token of the client itself has no use for it. Default: what is known of the account
    /// whose refresh token is used.
    pub fn routing_hint(mut self, hint: RoutingHint) -> Self {
        self.routing_hint = Some(Box::new(hint));
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
        if self.variant().is_some() {
            return None;
        }
        // No id: what has to be asked first is not asked from here.
        let look_up = self.look_up(None);
        let auth = self.parts.credential.resolve_erased(&look_up);
        self.parts.cache.find_at(&self.key(auth.known()?), look_up.now)
    }

    async fn acquire(self) -> Result<Token, Error> {
        let correlation_id = self.correlation_id.unwrap_or_else(CorrelationId::random);
        let parts = Arc::clone(self.parts);
        let acquired =
            timeout(parts.http.context().clock(), parts.deadline, self.acquire_as(correlation_id)).await;
        acquired.unwrap_or_else(|| Err(timed_out())).map_err(|error| match error.correlation_id() {
            Some(_) => error,
            None => error.with_correlation_id(correlation_id),
        })
    }

    async fn acquire_as(self, correlation_id: CorrelationId) -> Result<Token, Error> {
        // What is wrong with the request is said before anything is minted, signed or sent.
        let scope = match self.user {
            Some(_) => self.audience.as_str().to_owned(),
            None => self.audience.to_scope()?,
        };
        self.parameters.check()?;
        let claims = merge_claims(self.claims, self.client_claims, &self.parts.capabilities)?;
        let parts = self.parts;
        if self.proof_of_possession {
            check_transport(parts.http.transport())?;
        }
        let wanted = self.look_up(Some(correlation_id));
        let auth = parts.credential.resolve_erased(&wanted).await?;
        if auth.identity().is_some() {
            check_transport(parts.http.transport())?;
        }
        let key = self.key(&auth);
        let (grant, subject) = match self.user.as_deref().cloned() {
            Some(ForUser { grant, subject }) => (grant, subject),
            None => (Grant::ClientCredentials, Subject::Client),
        };
        let exchange = Exchange {
            parts: Arc::clone(parts),
            proof_of_possession: self.proof_of_possession,
            tenant: self.tenant.map(str::to_owned),
            grant,
            subject,
            audience: self.audience.as_str().to_owned(),
            scope,
            client_claims: self.client_claims.map(str::to_owned),
            claims,
            parameters: self.parameters.clone(),
            routing_hint: self.routing_hint.as_deref().cloned(),
            correlation_id,
            reason: self.fetch_reason(&key),
            region: auth.region().clone(),
        };
        let throttle = &parts.throttle;
        match self.variant() {
            Some(variant) => {
                throttle.check(&key)?;
                parts.cache.renew(&key, variant, || exchange.run()).await
            }
            None => {
                if let Err(error) = throttle.check(&key) {
                    // A token that is merely due is better than an error.
                    return parts.cache.find_even_if_due(&key).inspect(events::served).ok_or(error);
                }
                parts.cache.obtain(&key, || exchange.run()).await
            }
        }
    }

    fn fetch_reason(&self, key: &CacheKey<'_>) -> FetchReason {
        match self.user.as_deref() {
            Some(ForUser { subject: Subject::Unknown(_), .. })
            | Some(ForUser { subject: Subject::Session(_), grant: Grant::OnBehalfOf { .. } }) => {
                FetchReason::NotApplicable
            }
            _ if self.variant().is_some() => FetchReason::ForcedOrClaims,
            _ => self.parts.cache.fetch_reason(key),
        }
    }

    fn look_up(&self, correlation_id: Option<CorrelationId>) -> CredentialRequest<'_> {
        CredentialRequest {
            purpose: Purpose::LookUp,
            proof_of_possession: self.proof_of_possession,
            for_user: self.user.is_some(),
            tenant: self.tenant,
            correlation_id,
            now: self.parts.cache.clock().now(),
            http: &self.parts.http,
        }
    }

    /// What distinguishes a request that does not want the cached token.
    fn variant(&self) -> Option<&str> {
        match self.subject() {
            Some(Subject::Unknown(of)) => Some(of),
            _ => self.claims.or(self.force_refresh.then_some("")),
        }
    }

    fn subject(&self) -> Option<&Subject> {
        self.user.as_ref().map(|user| &user.subject)
    }

    fn key<'k>(&'k self, auth: &'k ClientAuth) -> CacheKey<'k> {
        auth.cache_key(self.audience.as_str(), self.proof_of_possession)
            .about(self.subject().and_then(Subject::name))
            .with_client_claims(self.client_claims)
            .with_parameters(self.parameters.keyed())
    }
}

/// A bound token needs a transport that presents certificates.
fn check_transport(transport: &impl Transport) -> Result<(), Error> {
    if transport.capabilities().client_certificates() {
        return Ok(());
    }
    let error = "the transport cannot present a client certificate; nothing was sent";
    Err(Error::new(ErrorKind::Request, "mtls_not_supported_by_transport", error)
        .with_advice("use a transport that declares client certificates, such as symbolon-hyper"))
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

    #[inline]
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
        if let State::Asked(asked) = &mut self.0 {
            // Where it lies: a hit does not move the request.
            if let Some(token) = asked.as_ref().and_then(TokenRequest::cached) {
                *asked = None;
                return Poll::Ready(Ok(token));
            }
            if let Some(request) = asked.take() {
                self.0 = State::Acquiring(Box::pin(request.acquire()));
            }
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
