//! The future of a managed identity request.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_token::{Error, ErrorKind, Token, TokenFuture};
use symbolon_types::CorrelationId;

use crate::{Detection, Downgrade, ManagedIdentityRequest, Source};

/// The future of a [`ManagedIdentityRequest`]. A cache hit is ready at the first poll and
/// allocates nothing.
pub struct ManagedIdentityFuture<'a>(State<'a>);

enum State<'a> {
    /// Through the exchange; with the request, if it may be answered with a bearer token instead.
    Exchanged(TokenFuture<'a>, Option<ManagedIdentityRequest<'a>>),
    Bearer(Option<ManagedIdentityRequest<'a>>),
    Acquiring(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>),
    Refused(Option<Error>),
}

impl<'a> ManagedIdentityFuture<'a> {
    pub(crate) fn new(request: ManagedIdentityRequest<'a>) -> Self {
        let may_downgrade = request.proof_of_possession && request.downgrade != Downgrade::Never;
        Self(match guard(&request) {
            Err(error) if may_downgrade && request.downgrade.covers(&error) => downgraded(request, &error),
            Err(error) => State::Refused(Some(error)),
            Ok(()) if request.takes_certificate() => {
                State::Exchanged(exchanged(&request).into_future(), may_downgrade.then_some(request))
            }
            Ok(()) => State::Bearer(Some(request)),
        })
    }
}

/// The same request for a bearer token.
fn downgraded<'a>(request: ManagedIdentityRequest<'a>, error: &Error) -> State<'a> {
    tracing::warn!(code = error.code(), "this host cannot bind tokens; a bearer token is asked for instead");
    State::Bearer(Some(ManagedIdentityRequest { proof_of_possession: false, over_mtls: false, ..request }))
}

/// The request as the token client takes it.
fn exchanged<'a>(request: &ManagedIdentityRequest<'a>) -> symbolon_token::TokenRequest<'a> {
    let mut token = request.identity.bound().token_for_resource(request.resource);
    if request.proof_of_possession {
        token = token.proof_of_possession();
    }
    if let Some(claims) = request.claims {
        token = token.claims(claims);
    }
    if let Some(claims) = request.client_claims {
        token = token.claims_from_client(claims);
    }
    if request.force_refresh {
        token = token.force_refresh();
    }
    if let Some(id) = request.correlation_id {
        token = token.correlation_id(id);
    }
    token
}

/// What this host, as far as its environment tells, cannot do.
fn guard(request: &ManagedIdentityRequest<'_>) -> Result<(), Error> {
    if !request.takes_certificate() {
        return Ok(());
    }
    let Detection { source, reason, .. } = request.identity.detection();
    let is_off = request.identity.is_v2_disabled();
    if *source == Source::Imds && !is_off {
        return Ok(());
    }
    let (code, error, advice) = match request.identity.minimum_strength() {
        // What is too weak is said first (IMDSv2 §1.4).
        Some(minimum) => (
            "min_strength_not_met",
            format!(
                "a key of strength {minimum} is required, and this host can bind no tokens; nothing was sent"
            ),
            "lower the requirement, or run where the metadata service has version 2",
        ),
        None if is_off && *source == Source::Imds => (
            "mtls_pop_not_supported_in_imds_v1",
            "MSAL_MI_DISABLE_IMDS_V2 switches off what issues certificates; nothing was sent".to_owned(),
            "unset the variable, or ask for a bearer token",
        ),
        None => (
            "mtls_pop_not_supported_for_environment",
            format!("{source} issues no certificates to bind tokens to ({reason}); nothing was sent"),
            "ask for a bearer token, or run on a virtual machine whose metadata service has version 2",
        ),
    };
    let id = request.correlation_id.unwrap_or_else(CorrelationId::random);
    Err(Error::new(ErrorKind::Environment, code, error).with_advice(advice).with_correlation_id(id))
}

impl Future for ManagedIdentityFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Exchanged(future, request) = &mut self.0 {
            let outcome = std::task::ready!(Pin::new(future).poll(context));
            match (outcome, request.take()) {
                (Err(error), Some(request)) if request.downgrade.covers(&error) => {
                    self.0 = downgraded(request, &error);
                }
                (outcome, _) => return Poll::Ready(outcome),
            }
        }
        if let State::Bearer(asked) = &mut self.0 {
            // Where it lies: a hit does not move the request.
            let cached = |request: &ManagedIdentityRequest<'_>| request.identity.bearer().cached(request);
            if let Some(token) = asked.as_ref().and_then(cached) {
                *asked = None;
                return Poll::Ready(Ok(token));
            }
            if let Some(request) = asked.take() {
                self.0 = State::Acquiring(Box::pin(request.identity.bearer().acquire(request)));
            }
        }
        match &mut self.0 {
            State::Acquiring(future) => future.as_mut().poll(context),
            State::Refused(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            // Polled again after it was ready, against the contract of `Future`.
            State::Exchanged(..) | State::Bearer(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for ManagedIdentityFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManagedIdentityFuture")
    }
}
