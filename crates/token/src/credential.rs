//! Who asks for the token: the boundary between the core and whoever holds a credential.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use symbolon_types::{ClientIdentity, CorrelationId, Error, Secret};

use crate::{Refusal, Scheme, TokenEndpoint};

/// Something that can authenticate a client to a token endpoint: a secret, a certificate, an
/// assertion, the certificate that a managed identity was minted.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// What to present now.
    ///
    /// It runs before every cache look-up, so it should be [`Resolution::ready`] when nothing
    /// changed.
    fn resolve<'a>(&'a self, request: &'a CredentialRequest) -> Resolution<'a>;

    /// The server, or the TLS peer, refused exactly `used`. True: resolve again, one more try is
    /// worth it.
    fn refused(&self, used: &ClientAuth, why: &Refusal) -> impl Future<Output = bool> + Send;
}

/// What a credential is wanted for.
#[derive(Clone, Debug)]
pub struct CredentialRequest {
    proof_of_possession: bool,
    correlation_id: Option<CorrelationId>,
}

impl CredentialRequest {
    pub(crate) fn new(proof_of_possession: bool, correlation_id: Option<CorrelationId>) -> Self {
        Self { proof_of_possession, correlation_id }
    }

    /// Whether the token must be bound to a certificate. A source that cannot bind must fail.
    #[must_use]
    pub fn proof_of_possession(&self) -> bool {
        self.proof_of_possession
    }

    /// The id under which the token request will be logged, for the requests that the source
    /// itself makes. A new one where none was drawn yet.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id.unwrap_or_else(CorrelationId::random)
    }
}

/// The answer to [`CredentialSource::resolve`]: at once, or later.
///
/// A plain future behind a pointer costs an allocation at each call; this one costs it only when
/// there is something to wait for, so a cache hit allocates nothing.
pub struct Resolution<'a>(Answer<'a>);

enum Answer<'a> {
    Ready(Option<Result<ClientAuth, Error>>),
    Future(Pin<Box<dyn Future<Output = Result<ClientAuth, Error>> + Send + 'a>>),
}

impl<'a> Resolution<'a> {
    /// The answer is known.
    #[must_use]
    pub fn ready(answer: Result<ClientAuth, Error>) -> Self {
        Self(Answer::Ready(Some(answer)))
    }

    /// The answer has to be waited for.
    pub fn future(answer: impl Future<Output = Result<ClientAuth, Error>> + Send + 'a) -> Self {
        Self(Answer::Future(Box::pin(answer)))
    }

    /// The answer, if it is known.
    pub(crate) fn if_ready(self) -> Option<Result<ClientAuth, Error>> {
        match self.0 {
            Answer::Ready(answer) => answer,
            Answer::Future(_) => None,
        }
    }
}

impl Future for Resolution<'_> {
    type Output = Result<ClientAuth, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Future(future) => future.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Resolution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolution")
    }
}

/// What a client presents to a token endpoint. Immutable; clones are cheap.
#[derive(Clone)]
pub struct ClientAuth(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    client_id: String,
    tenant_id: Option<String>,
    partition: String,
    token_endpoint: TokenEndpoint,
    parameters: Vec<(Cow<'static, str>, Secret)>,
    identity: Option<ClientIdentity>,
    scheme: Scheme,
}

impl ClientAuth {
    /// A client that asks this endpoint for bearer tokens, so far without any credential.
    ///
    /// `partition` says who is asking, for the cache: whatever makes two requests to the same
    /// endpoint different callers must be in it.
    #[must_use]
    pub fn new(
        client_id: impl Into<String>,
        token_endpoint: TokenEndpoint,
        partition: impl Into<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            client_id: client_id.into(),
            tenant_id: None,
            partition: partition.into(),
            token_endpoint,
            parameters: Vec::new(),
            identity: None,
            scheme: Scheme::Bearer,
        }))
    }

    /// The same, in this tenant.
    #[must_use]
    pub fn with_tenant_id(self, tenant_id: impl Into<String>) -> Self {
        self.edit(|inner| inner.tenant_id = Some(tenant_id.into()))
    }

    /// The same, with a parameter in the body of the token request.
    #[must_use]
    pub fn with_parameter(self, name: impl Into<Cow<'static, str>>, value: Secret) -> Self {
        self.edit(|inner| inner.parameters.push((name.into(), value)))
    }

    /// The same, presenting a certificate to the token endpoint. The token stays a bearer token.
    #[must_use]
    pub fn with_identity(self, identity: ClientIdentity) -> Self {
        self.edit(|inner| inner.identity = Some(identity))
    }

    /// The same, presenting a certificate to the token endpoint and asking for a token that is
    /// bound to it.
    #[must_use]
    pub fn with_proof_of_possession(self, identity: ClientIdentity) -> Self {
        self.edit(|inner| {
            inner.scheme = Scheme::MtlsPop(identity.clone());
            inner.identity = Some(identity);
        })
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The client identifier (RFC 6749 §2.2).
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// The tenant, where there is one.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.tenant_id.as_deref()
    }

    /// Where the token is asked for.
    #[must_use]
    pub fn token_endpoint(&self) -> &TokenEndpoint {
        &self.0.token_endpoint
    }

    /// The certificate to present to the token endpoint.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.0.identity.as_ref()
    }

    /// How the token will be used.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.0.scheme
    }

    pub(crate) fn partition(&self) -> &str {
        &self.0.partition
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.parameters.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("token_endpoint", &self.0.token_endpoint)
            .field("scheme", &self.0.scheme.token_type())
            .field("has_identity", &self.0.identity.is_some())
            .finish_non_exhaustive()
    }
}

/// The twin of [`CredentialSource`] that can stand behind a pointer.
#[async_trait]
pub(crate) trait ErasedCredential: fmt::Debug + Send + Sync {
    fn resolve_erased<'a>(&'a self, request: &'a CredentialRequest) -> Resolution<'a>;
    async fn refused_erased(&self, used: &ClientAuth, why: &Refusal) -> bool;
}

#[async_trait]
impl<C: CredentialSource> ErasedCredential for C {
    fn resolve_erased<'a>(&'a self, request: &'a CredentialRequest) -> Resolution<'a> {
        self.resolve(request)
    }

    async fn refused_erased(&self, used: &ClientAuth, why: &Refusal) -> bool {
        self.refused(used, why).await
    }
}
