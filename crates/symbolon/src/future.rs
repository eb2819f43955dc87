//! The future of a managed identity request.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_token::{Error, ErrorKind, Token, TokenFuture};
use symbolon_types::CorrelationId;

use crate::{Detection, ManagedIdentityRequest, Source};

/// The future of a [`ManagedIdentityRequest`]. A cache hit is ready at the first poll and
/// allocates nothing.
pub struct ManagedIdentityFuture<'a>(State<'a>);

enum State<'a> {
    Exchanged(TokenFuture<'a>),
    Bearer(Option<ManagedIdentityRequest<'a>>),
    Acquiring(Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>),
    Refused(Option<Error>),
}

impl<'a> ManagedIdentityFuture<'a> {
    pub(crate) fn new(request: ManagedIdentityRequest<'a>) -> Self {
        Self(match guard(&request) {
            Err(error) => State::Refused(Some(error)),
            Ok(()) if request.takes_certificate() => State::Exchanged(exchanged(&request).into_future()),
            Ok(()) => State::Bearer(Some(request)),
        })
    }
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
    if *source == Source::Imds {
        return Ok(());
    }
    let error = format!("{source} issues no certificates to bind tokens to ({reason}); nothing was sent");
    Err(Error::new(ErrorKind::Environment, "mtls_pop_not_supported_for_environment", error)
        .with_advice(
            "ask for a bearer token, or run on a virtual machine whose metadata service has version 2",
        )
        .with_correlation_id(request.correlation_id.unwrap_or_else(CorrelationId::random)))
}

impl Future for ManagedIdentityFuture<'_> {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
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
            State::Exchanged(future) => Pin::new(future).poll(context),
            State::Acquiring(future) => future.as_mut().poll(context),
            State::Refused(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            // Polled again after it was ready, against the contract of `Future`.
            State::Bearer(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for ManagedIdentityFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManagedIdentityFuture")
    }
}
