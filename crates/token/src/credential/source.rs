//! The interface between the token client and a credential.

use std::fmt;

use async_trait::async_trait;
use symbolon_transport::HttpClient;
use symbolon_types::{CorrelationId, Error, SteadyTime, catch_panic_of};

use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use crate::oauth::CredentialRejection;

/// A way to authenticate a client to a token endpoint: a secret, a certificate, an assertion, or
/// the certificate of a managed identity.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the part of the cache key that depends on this credential, without waiting.
    ///
    /// It runs before every cache lookup, so it should not allocate. `None` if
    /// [`authenticate`](Self::authenticate) must run first, because the caller is not known without
    /// it, or because the request will fail. The default is `None`, with which every request
    /// authenticates. A source that only lacks a current certificate returns an identity that is
    /// [awaiting one](CacheIdentity::awaiting_certificate), so that tokens of an earlier one are
    /// served meanwhile.
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        let _ = request;
        None
    }

    /// Returns the authentication for one exchange with the token endpoint.
    ///
    /// It runs once for each exchange, and a second time after a rejection with a successor. The
    /// token is cached in the partition and under the certificate of the returned authentication.
    fn authenticate(
        &self,
        request: &CredentialRequest<'_>,
    ) -> impl Future<Output = Result<ClientAuth, Error>> + Send;

    /// Handles the rejection of exactly `used` by the token endpoint or by the TLS peer. Returns
    /// `true` if another authentication is available: then the exchange is tried once more, and
    /// tokens that are bound to a refused certificate are no longer served.
    fn refused(
        &self,
        used: &ClientAuth,
        rejection: &CredentialRejection,
    ) -> impl Future<Output = bool> + Send;
}

/// A request to a [`CredentialSource`].
#[derive(Clone, Copy, Debug)]
pub struct CredentialRequest<'a> {
    pub(crate) proof_of_possession: bool,
    pub(crate) for_user: bool,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) fmi_path: Option<&'a str>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) now: SteadyTime,
    pub(crate) http: &'a HttpClient,
}

impl<'a> CredentialRequest<'a> {
    /// Returns `true` if the token must be bound to a certificate. A source that cannot bind fails.
    #[must_use]
    pub fn proof_of_possession(&self) -> bool {
        self.proof_of_possession
    }

    /// Returns `true` if the token is about a user, `false` if it is for the client itself.
    #[must_use]
    pub fn for_user(&self) -> bool {
        self.for_user
    }

    /// Returns the tenant of this request if it is not the client's own.
    #[must_use]
    pub fn tenant(&self) -> Option<&'a str> {
        self.tenant
    }

    /// Returns the path of a child of the client, for a source of client assertions
    /// ([`TokenRequest::fmi_path`](crate::TokenRequest::fmi_path)).
    #[must_use]
    pub fn fmi_path(&self) -> Option<&'a str> {
        self.fmi_path
    }

    /// Returns the correlation id of the token request, for requests that the source itself sends.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id.unwrap_or_else(CorrelationId::random)
    }

    /// Returns the steady time, which was read once for the lookup or the exchange.
    #[must_use]
    pub fn now(&self) -> SteadyTime {
        self.now
    }

    /// Returns the HTTP client for requests that the source itself sends.
    #[must_use]
    pub fn http(&self) -> &'a HttpClient {
        self.http
    }
}

/// A [`CredentialSource`] behind a pointer.
#[async_trait]
pub(crate) trait ErasedCredential: fmt::Debug + Send + Sync {
    fn cache_identity_erased<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>>;
    async fn authenticate_erased(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error>;
    async fn refused_erased(&self, used: &ClientAuth, rejection: &CredentialRejection) -> bool;
}

#[async_trait]
impl<C: CredentialSource> ErasedCredential for C {
    fn cache_identity_erased<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        self.cache_identity(request)
    }

    async fn authenticate_erased(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        catch_panic_of("the credential", || self.authenticate(request)).await.unwrap_or_else(Err)
    }

    async fn refused_erased(&self, used: &ClientAuth, rejection: &CredentialRejection) -> bool {
        let handled = catch_panic_of("the credential", || self.refused(used, rejection)).await;
        handled.unwrap_or_else(|error| {
            tracing::warn!(%error, "the rejection of a credential was not handled");
            false
        })
    }
}
