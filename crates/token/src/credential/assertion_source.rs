//! Sources of client assertions.

use std::fmt;

use async_trait::async_trait;
use symbolon_types::{ClientIdentity, CorrelationId, Error, Secret, catch_panic_of};

use super::source::CredentialRequest;

/// A source of assertions for a client.
pub trait AssertionSource: fmt::Debug + Send + Sync + 'static {
    /// Returns an assertion for one exchange; a bound assertion comes with its certificate.
    fn assertion(
        &self,
        request: &AssertionRequest<'_>,
    ) -> impl Future<Output = Result<SignedAssertion, Error>> + Send;
}

/// A request for a client assertion.
#[derive(Clone, Copy, Debug)]
pub struct AssertionRequest<'a> {
    client_id: &'a str,
    tenant: Option<&'a str>,
    fmi_path: Option<&'a str>,
    correlation_id: CorrelationId,
    proof_of_possession: bool,
}

impl<'a> AssertionRequest<'a> {
    pub(super) fn new(client_id: &'a str, request: &CredentialRequest<'a>) -> Self {
        Self {
            client_id,
            tenant: request.tenant(),
            fmi_path: request.fmi_path(),
            correlation_id: request.correlation_id(),
            proof_of_possession: request.proof_of_possession(),
        }
    }

    /// Returns the client that the assertion is about.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        self.client_id
    }

    /// Returns the tenant of this request if it is not the client's own.
    #[must_use]
    pub fn tenant(&self) -> Option<&'a str> {
        self.tenant
    }

    /// Returns the path of the child of the client that the token is requested for, or that the
    /// assertion itself is requested for
    /// ([`TokenRequest::assertion_fmi_path`](crate::TokenRequest::assertion_fmi_path)).
    #[must_use]
    pub fn fmi_path(&self) -> Option<&'a str> {
        self.fmi_path
    }

    /// Returns the id under which the exchange is logged.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id
    }

    /// Returns `true` if the token will be bound, which requires a bound assertion.
    #[must_use]
    pub fn proof_of_possession(&self) -> bool {
        self.proof_of_possession
    }
}

/// A client assertion, and the certificate that it is bound to, if any.
#[derive(Clone, Debug)]
#[must_use]
pub struct SignedAssertion {
    pub(super) assertion: Secret,
    pub(super) binding: Option<ClientIdentity>,
}

impl SignedAssertion {
    /// Creates an assertion that is not bound.
    pub fn new(assertion: Secret) -> Self {
        Self { assertion, binding: None }
    }

    /// Declares the assertion bound to this certificate by its `cnf` claim.
    pub fn bound_to(mut self, identity: ClientIdentity) -> Self {
        self.binding = Some(identity);
        self
    }
}

/// An assertion source made of a closure; see [`assertion_fn`].
#[derive(Clone)]
pub struct AssertionFn<F>(F);

/// Returns an assertion source that calls a closure.
///
/// ```
/// # use symbolon_token::{SignedAssertion, assertion_fn};
/// # use symbolon_types::Secret;
/// let source = assertion_fn(|_request| async { Ok(SignedAssertion::new(Secret::new("eyJ…"))) });
/// ```
pub fn assertion_fn<F, R>(make: F) -> AssertionFn<F>
where
    F: Fn(AssertionRequest<'_>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<SignedAssertion, Error>> + Send,
{
    AssertionFn(make)
}

impl<F, R> AssertionSource for AssertionFn<F>
where
    F: Fn(AssertionRequest<'_>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<SignedAssertion, Error>> + Send,
{
    fn assertion(
        &self,
        request: &AssertionRequest<'_>,
    ) -> impl Future<Output = Result<SignedAssertion, Error>> + Send {
        (self.0)(*request)
    }
}

impl<F> fmt::Debug for AssertionFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssertionFn")
    }
}

/// An [`AssertionSource`] behind a pointer.
#[async_trait]
pub(super) trait ErasedSource: fmt::Debug + Send + Sync {
    async fn assertion_erased(&self, request: &AssertionRequest<'_>) -> Result<SignedAssertion, Error>;
}

#[async_trait]
impl<S: AssertionSource> ErasedSource for S {
    async fn assertion_erased(&self, request: &AssertionRequest<'_>) -> Result<SignedAssertion, Error> {
        let made = catch_panic_of("the source of the client assertion", || self.assertion(request)).await;
        made.unwrap_or_else(Err)
    }
}
