//! Who asks for the token: the boundary between the core and whoever holds a credential.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use symbolon_transport::HttpClient;
use symbolon_types::CorrelationId;

use super::auth::ClientAuth;
use super::auth_future::AuthFuture;
use crate::oauth::CredentialRejection;

/// Something that can authenticate a client to a token endpoint: a secret, a certificate, an
/// assertion, the certificate that a managed identity was minted.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// What to present now.
    ///
    /// It runs before every cache look-up, and again when a token is really asked for
    /// ([`CredentialRequest::purpose`]). For a look-up it should be [`AuthFuture::ready`] when
    /// nothing changed, lent ([`CachedAuth`]) where it can be; what costs something, such as obtaining an assertion, can wait for the
    /// exchange. What the token is cached under is what the exchange presented.
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> AuthFuture<'a>;

    /// The server, or the TLS peer, refused exactly `used`. True: resolve again, one more try is
    /// worth it.
    fn refused(&self, used: &ClientAuth, why: &CredentialRejection) -> impl Future<Output = bool> + Send;
}

/// What a credential is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRequest<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) proof_of_possession: bool,
    pub(crate) for_user: bool,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) now: SystemTime,
    pub(crate) http: &'a HttpClient,
}

/// Why a credential is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To know whose token to look for.
    LookUp,
    /// To ask for a token.
    Exchange,
}

impl<'a> CredentialRequest<'a> {
    /// Why it is resolved.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the token must be bound to a certificate. A source that cannot bind must fail.
    #[must_use]
    pub fn proof_of_possession(&self) -> bool {
        self.proof_of_possession
    }

    /// Whether the token is about a user, and not for the client itself.
    #[must_use]
    pub fn for_user(&self) -> bool {
        self.for_user
    }

    /// The tenant that this request is for, if it is not the client's own.
    #[must_use]
    pub fn tenant(&self) -> Option<&'a str> {
        self.tenant
    }

    /// The id under which the token request will be logged, for the requests that the source
    /// itself makes. A new one where none was drawn yet.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id.unwrap_or_else(CorrelationId::random)
    }

    /// The time, read once for the look-up or the exchange that this is part of.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// What the source may send its own requests with.
    #[must_use]
    pub fn http(&self) -> &'a HttpClient {
        self.http
    }
}

/// The twin of [`CredentialSource`] that can stand behind a pointer.
#[async_trait]
pub(crate) trait ErasedCredential: fmt::Debug + Send + Sync {
    fn resolve_erased<'a>(&'a self, request: &'a CredentialRequest<'a>) -> AuthFuture<'a>;
    async fn refused_erased(&self, used: &ClientAuth, why: &CredentialRejection) -> bool;
}

#[async_trait]
impl<C: CredentialSource> ErasedCredential for C {
    fn resolve_erased<'a>(&'a self, request: &'a CredentialRequest<'a>) -> AuthFuture<'a> {
        self.resolve(request)
    }

    async fn refused_erased(&self, used: &ClientAuth, why: &CredentialRejection) -> bool {
        self.refused(used, why).await
    }
}
