//! Token requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use symbolon_types::{CorrelationId, Error, ErrorKind, SteadyTime, catch_panic_of};

use super::acquisition::acquire;
use super::authenticate::check_transport;
use super::options::RequestOptions;
use super::owned_request::OwnedRequest;
use super::parts::{ClientParts, Started};
use crate::credential::{CacheIdentity, CredentialRequest};
use crate::oauth::{Audience, Caching, Grant, Parameters, RoutingHint, Subject, merge_claims};
use crate::token::{CacheKey, Token};

/// A token request under construction; `.await` it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct TokenRequest<'a> {
    parts: &'a Arc<ClientParts>,
    audience: Audience<'a>,
    proof_of_possession: bool,
    tenant: Option<&'a str>,
    options: RequestOptions<'a>,
    extras: Option<Box<RequestExtras>>,
}

/// The settings that most requests lack. Boxed, because a request is moved often.
#[derive(Clone, Default)]
struct RequestExtras {
    user: Option<UserGrant>,
    parameters: Parameters,
    routing_hint: Option<RoutingHint>,
}

/// The grant of a request about a user, and the user.
#[derive(Clone)]
struct UserGrant {
    grant: Grant,
    subject: Subject,
}

impl<'a> TokenRequest<'a> {
    #[inline]
    pub(crate) fn new(parts: &'a Arc<ClientParts>, audience: Audience<'a>) -> Self {
        Self {
            parts,
            audience,
            proof_of_possession: false,
            tenant: None,
            options: RequestOptions::default(),
            extras: None,
        }
    }

    pub(crate) fn for_user(
        parts: &'a Arc<ClientParts>,
        audience: Audience<'a>,
        grant: Grant,
        subject: Subject,
    ) -> Self {
        let mut request = Self::new(parts, audience);
        request.extras().user = Some(UserGrant { grant, subject });
        request
    }

    /// Requests a token that is bound to the client's certificate (RFC 8705 §3).
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Sets the tenant, instead of the client's own. Tokens of different tenants are cached apart.
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets the options that all kinds of token requests share, and replaces those set before.
    pub fn options(mut self, options: RequestOptions<'a>) -> Self {
        self.options = options;
        self
    }

    /// Adds the claims of a challenge, as JSON.
    ///
    /// The request bypasses the token cache, and the new token replaces the challenged one. It does
    /// not mint a new certificate for a managed identity: a claims challenge is about the token, so
    /// the token is requested again with the certificate that is held, and a bound token stays
    /// bound to the same key.
    pub fn claims(mut self, challenge: &'a str) -> Self {
        self.options = self.options.with_claims(challenge);
        self
    }

    /// Adds claims that the client itself originates, as JSON. They are part of the cache key by
    /// their exact text.
    pub fn claims_from_client(mut self, claims: &'a str) -> Self {
        self.options = self.options.with_client_claims(claims);
        self
    }

    /// Adds a parameter of your own to the body of the token request.
    pub fn body_parameter(mut self, name: &str, value: &str, caching: Caching) -> Self {
        self.extras().parameters.add_to_body(name, value, caching);
        self
    }

    /// Adds a parameter of your own to the query of the token endpoint. Three parameters that MSAL
    /// defines go into the telemetry header instead; the documentation of the crate lists them.
    pub fn query_parameter(mut self, name: &str, value: &str, caching: Caching) -> Self {
        self.extras().parameters.add_to_query(name, value, caching);
        self
    }

    /// Requests a token that represents a child of this client, such as an agent identity of an
    /// agent identity blueprint, by its path (`docs/protocol/token-request.md#agent-identities`).
    /// The path is part of the cache key, and reaches the [source of the client
    /// assertion](crate::AssertionRequest::fmi_path). Only for tokens of the client itself.
    pub fn fmi_path(mut self, path: &str) -> Self {
        self.extras().parameters.set_fmi_path(path);
        self
    }

    /// Sets the path for the [source of the client assertion](crate::AssertionRequest::fmi_path)
    /// only: it is part of the cache key, and not sent. Default: the path of
    /// [`fmi_path`](Self::fmi_path).
    pub fn assertion_fmi_path(mut self, path: &str) -> Self {
        self.extras().parameters.set_assertion_fmi_path(path);
        self
    }

    /// Adds a part of the cache key that is not sent: each value has tokens of its own. It applies
    /// to the access tokens of every request that reads or fills the cache, also on behalf of a
    /// user, of a session, and with a federated identity credential. The refresh token of a user is
    /// shared.
    ///
    /// Requests for tokens of a managed identity have no such part: a host has a cache of its own,
    /// and returns the same token for each value.
    pub fn cache_key_part(mut self, name: &str, value: &str) -> Self {
        self.extras().parameters.add_to_key(name, value);
        self
    }

    /// Names the user for Entra's backup authentication service. The hint is not part of the cache
    /// key, and is ignored for a token of the client itself. Default: the account of the refresh
    /// token, if one is used.
    pub fn routing_hint(mut self, hint: RoutingHint) -> Self {
        self.extras().routing_hint = Some(hint);
        self
    }

    /// Bypasses the token cache: a new token is requested.
    pub fn force_refresh(mut self) -> Self {
        self.options = self.options.with_force_refresh(true);
        self
    }

    /// Sets the id under which every service involved logs the request. Default: a new one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options = self.options.with_correlation_id(id);
        self
    }

    /// Returns the token if it is in the cache and needs no renewal. Allocates nothing.
    fn cached(&self) -> Option<Token> {
        if self.bypass_key().is_some() {
            return None;
        }
        let now = self.parts.cache.clock().steady_now();
        let request = self.credential_request(now);
        let identity = self.parts.credential.cache_identity_erased(&request)?;
        self.parts.cache.find_at(&self.key(&identity), now)
    }

    async fn acquire(self) -> Result<Token, Error> {
        let (cache, is_bound) = (&self.parts.cache, self.proof_of_possession);
        let started = cache.clock().steady_now();
        let correlation_id = self.options.correlation_id().unwrap_or_else(CorrelationId::random);
        let acquire = catch_panic_of("the token request", || self.acquire_as(correlation_id));
        let result = acquire.await.unwrap_or_else(Err).map_err(|error| match error.correlation_id() {
            Some(_) => error,
            None => error.with_correlation_id(correlation_id),
        });
        cache.complete(started, is_bound, result)
    }

    async fn acquire_as(self, correlation_id: CorrelationId) -> Result<Token, Error> {
        let parts = self.parts;
        let RequestExtras { user, parameters, routing_hint } =
            self.extras.as_deref().cloned().unwrap_or_default();
        // An invalid request fails before anything is minted, signed or sent.
        let scope = match &user {
            Some(_) => self.audience.as_str().to_owned(),
            None => self.audience.to_scope()?,
        };
        parameters.check()?;
        if let Some(UserGrant { grant, .. }) = &user {
            grant.check()?;
            check_no_fmi_path(&parameters)?;
        }
        let (claims, client_claims) = (self.options.claims(), self.options.client_claims());
        let merged_claims = merge_claims(claims, client_claims, &parts.capabilities)?;
        if self.proof_of_possession {
            check_transport(parts.http.transport())?;
        }
        let deadline = self.options.deadline().unwrap_or(parts.deadline);
        let started = Started::now(parts.http.context().clock(), deadline);
        let (grant, subject) = match user {
            Some(UserGrant { grant, subject }) => (grant, subject),
            None => (Grant::ClientCredentials, Subject::Client),
        };
        let request = OwnedRequest {
            parts: Arc::clone(parts),
            audience: self.audience.as_str().to_owned(),
            proof_of_possession: self.proof_of_possession,
            tenant: self.tenant.map(str::to_owned),
            grant,
            subject,
            scope,
            claims: merged_claims,
            client_claims: client_claims.map(str::to_owned),
            bypass_key: self.bypass_key().map(str::to_owned),
            is_forced: self.options.force_refresh(),
            parameters,
            routing_hint,
            correlation_id,
            started,
        };
        acquire(Arc::new(request)).await
    }

    fn credential_request(&self, now: SteadyTime) -> CredentialRequest<'_> {
        CredentialRequest {
            proof_of_possession: self.proof_of_possession,
            for_user: self.subject().is_some(),
            tenant: self.tenant,
            fmi_path: self.extras.as_ref().and_then(|extras| extras.parameters.assertion_fmi_path()),
            correlation_id: None,
            now,
            http: &self.parts.http,
        }
    }

    /// Returns the key under which requests that do not read the cache share an exchange.
    fn bypass_key(&self) -> Option<&str> {
        match self.subject() {
            Some(Subject::Unknown(digest)) => Some(digest),
            _ => self.options.bypass_key(),
        }
    }

    fn subject(&self) -> Option<&Subject> {
        Some(&self.extras.as_ref()?.user.as_ref()?.subject)
    }

    fn keyed_parameters(&self) -> &[(String, String)] {
        self.extras.as_ref().map_or(&[], |extras| extras.parameters.keyed())
    }

    fn extras(&mut self) -> &mut RequestExtras {
        self.extras.get_or_insert_default()
    }

    fn key<'k>(&'k self, identity: &'k CacheIdentity<'_>) -> CacheKey<'k> {
        identity
            .key(self.audience.as_str())
            .about(self.subject().and_then(Subject::name))
            .with_client_claims(self.options.client_claims())
            .with_parameters(self.keyed_parameters())
    }
}

/// Checks that a request about a user has no `fmi_path`, which selects a child of the client.
fn check_no_fmi_path(parameters: &Parameters) -> Result<(), Error> {
    if parameters.fmi_path().is_none() {
        return Ok(());
    }
    let error = "a request about a user has an FMI path; nothing was sent";
    Err(Error::new(ErrorKind::Request, "invalid_parameter", error)
        .with_advice("request a token of the client itself, or set the path for the client assertion only"))
}

symbolon_types::debug_fields!(
    TokenRequest<'_> |this|
    audience: this.audience.as_str(), proof_of_possession: this.proof_of_possession,
    options: this.options
);

impl<'a> IntoFuture for TokenRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = TokenFuture<'a>;

    #[inline]
    fn into_future(self) -> TokenFuture<'a> {
        TokenFuture(State::New(Some(self)))
    }
}

/// The future of a [`TokenRequest`]. A cache hit is ready at the first poll and allocates nothing.
pub struct TokenFuture<'a>(State<'a>);

enum State<'a> {
    New(Option<TokenRequest<'a>>),
    Acquiring(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>),
}

impl Future for TokenFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New(request) = &mut self.0 {
            // The cache is read through a reference, so that a hit does not move the request.
            if let Some(token) = request.as_ref().and_then(TokenRequest::cached) {
                *request = None;
                return Poll::Ready(Ok(token));
            }
            if let Some(request) = request.take() {
                self.0 = State::Acquiring(Box::pin(request.acquire()));
            }
        }
        match &mut self.0 {
            State::Acquiring(acquiring) => acquiring.as_mut().poll(context),
            // Polled again after completion, against the contract of `Future`.
            State::New(_) => Poll::Pending,
        }
    }
}

symbolon_types::debug_fields!(TokenFuture<'_>);
