//! The future of a managed identity request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use symbolon_token::{Error, ErrorKind, Token, TokenFuture, TokenRequest};
use symbolon_types::{ClientIdentity, CorrelationId, Source};

use crate::detection::Detection;
use crate::request::ManagedIdentityRequest;

/// The future of a [`ManagedIdentityRequest`]. On a cache hit it is ready at the first poll and
/// allocates nothing.
pub struct ManagedIdentityFuture<'a>(RequestState<'a>);

enum RequestState<'a> {
    /// The token client runs the request. The request is kept for the checks of the result.
    Certificate(TokenFuture<'a>, Option<ManagedIdentityRequest<'a>>),
    /// A bearer token, not yet looked up in the cache.
    Bearer(Option<ManagedIdentityRequest<'a>>),
    Acquiring(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>),
    Failed(Option<Error>),
}

impl<'a> IntoFuture for ManagedIdentityRequest<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = ManagedIdentityFuture<'a>;

    fn into_future(self) -> ManagedIdentityFuture<'a> {
        if !self.needs_certificate() {
            return ManagedIdentityFuture(RequestState::Bearer(Some(self)));
        }
        ManagedIdentityFuture(match check_host(&self).and_then(|()| check_strength(&self, None)) {
            Ok(()) => RequestState::Certificate(token_request(&self).into_future(), Some(self)),
            Err(error) if self.proof_of_possession && self.downgrade.applies_to(&error) => {
                downgrade(self, &error)
            }
            Err(error) => {
                let cache = self.identity.0.token_client.cache();
                let now = cache.clock().steady_now();
                RequestState::Failed(cache.complete(now, self.proof_of_possession, Err(error)).err())
            }
        })
    }
}

/// Replaces the request by one for a bearer token.
fn downgrade<'a>(request: ManagedIdentityRequest<'a>, error: &Error) -> RequestState<'a> {
    tracing::warn!(code = error.code(), "this host cannot bind tokens; requesting a bearer token instead");
    RequestState::Bearer(Some(request))
}

/// Returns the request for the token client, which has a certificate for every request.
fn token_request<'a>(request: &ManagedIdentityRequest<'a>) -> TokenRequest<'a> {
    let token = request.identity.0.token_client.token_for_resource(request.resource);
    let token = token.options(request.options);
    if request.proof_of_possession { token.proof_of_possession() } else { token }
}

/// Refuses a request for a certificate that this host cannot fulfil, judging by its environment.
pub(crate) fn check_host(request: &ManagedIdentityRequest<'_>) -> Result<(), Error> {
    let Detection { source, reason, .. } = request.identity.detection();
    let is_disabled = request.identity.0.is_imds_v2_disabled;
    if *source == Source::Imds && !is_disabled {
        return Ok(());
    }
    let lack = if request.proof_of_possession { "cannot bind tokens" } else { "issues no certificates" };
    let use_of_certificates =
        if request.proof_of_possession { "to bind tokens to" } else { "for requests over mTLS" };
    let alternative =
        if request.proof_of_possession { "request a bearer token" } else { "request the token without mTLS" };
    let (code, error, advice) = match request.minimum_strength.max(request.identity.0.minimum_strength) {
        // The key strength is checked first. (docs/protocol/imdsv2.md#guards)
        Some(minimum) => (
            "min_strength_not_met",
            format!("a key of strength {minimum} is required, but this host {lack}; nothing was sent"),
            "lower the requirement, or run on a host whose metadata service has version 2".to_owned(),
        ),
        None if is_disabled && *source == Source::Imds => (
            "mtls_pop_not_supported_in_imds_v1",
            format!(
                "MSAL_MI_DISABLE_IMDS_V2 disables the certificates {use_of_certificates}; nothing was sent"
            ),
            format!("unset the variable, or {alternative}"),
        ),
        None => (
            "mtls_pop_not_supported_for_environment",
            format!("{source} issues no certificates {use_of_certificates} ({reason}); nothing was sent"),
            format!("{alternative}, or run on a virtual machine whose metadata service has version 2"),
        ),
    };
    let id = request.options.correlation_id().unwrap_or_else(CorrelationId::random);
    Err(Error::new(ErrorKind::Environment, code, error).with_advice(advice).with_correlation_id(id))
}

/// Checks the requirement of the request for the key of its certificate: that of the token, or of
/// the current or the next binding, as far as it is known.
fn check_strength(request: &ManagedIdentityRequest<'_>, token: Option<&Token>) -> Result<(), Error> {
    let Some(minimum) = request.minimum_strength else { return Ok(()) };
    let of_token = token.and_then(Token::bound_to).map(ClientIdentity::strength);
    let strength = of_token.or_else(|| request.identity.known_strength());
    let Some(strength) = strength.filter(|strength| *strength < minimum) else { return Ok(()) };
    let error = match token {
        Some(_) => {
            format!("a key of strength {minimum} is required, but the token was issued with {strength}")
        }
        None => {
            format!("a key of strength {minimum} is required, but this host has {strength}; nothing was sent")
        }
    };
    let id = request.options.correlation_id().unwrap_or_else(CorrelationId::random);
    Err(Error::new(ErrorKind::Environment, "min_strength_not_met", error)
        .with_advice("lower the requirement, or use a key provider with better protected keys")
        .with_correlation_id(id))
}

impl Future for ManagedIdentityFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let RequestState::Certificate(future, request) = &mut self.0 {
            let result = ready!(Pin::new(future).poll(context));
            match (result, request.take()) {
                (Err(error), Some(request))
                    if request.proof_of_possession && request.downgrade.applies_to(&error) =>
                {
                    self.0 = downgrade(request, &error);
                }
                (Ok(token), Some(request)) => {
                    return Poll::Ready(check_strength(&request, Some(&token)).map(|()| token));
                }
                (result, _) => return Poll::Ready(result),
            }
        }
        if let RequestState::Bearer(pending) = &mut self.0 {
            // By reference, so that a hit does not move the request.
            let cached = pending.as_ref().and_then(|request| {
                request.identity.0.bearer_tokens.cached(request.resource, &request.options)
            });
            if let Some(token) = cached {
                *pending = None;
                return Poll::Ready(Ok(token));
            }
            if let Some(ManagedIdentityRequest { identity, resource, options, .. }) = pending.take() {
                let acquire = identity.0.bearer_tokens.acquire(resource, options);
                self.0 = RequestState::Acquiring(Box::pin(acquire));
            }
        }
        match &mut self.0 {
            RequestState::Acquiring(future) => future.as_mut().poll(context),
            RequestState::Failed(error) => {
                error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
            // Polled again after completion, which the contract of `Future` does not allow.
            RequestState::Certificate(..) | RequestState::Bearer(_) => Poll::Pending,
        }
    }
}

symbolon_types::debug_fields!(ManagedIdentityFuture<'_>);
