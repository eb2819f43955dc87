//! An answer that is known, or will be.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_types::Error;

use super::auth::ClientAuth;
use super::cached_auth::Lent;

/// The answer to [`CredentialSource::resolve`](crate::CredentialSource::resolve): at once, or later.
///
/// A plain future behind a pointer costs an allocation at each call; this one costs it only when
/// there is something to wait for, so a cache hit allocates nothing. A source that presents the
/// same for long lends it: see [`CachedAuth`](crate::CachedAuth).
pub struct AuthFuture<'a>(Answer<'a>);

enum Answer<'a> {
    Ready(Option<Result<ClientAuth, Error>>),
    Lent(Lent),
    Future(Pin<Box<dyn Future<Output = Result<ClientAuth, Error>> + Send + 'a>>),
}

impl<'a> AuthFuture<'a> {
    /// The answer is known.
    #[must_use]
    pub fn ready(answer: Result<ClientAuth, Error>) -> Self {
        Self(Answer::Ready(Some(answer)))
    }

    /// The answer has to be waited for.
    pub fn future(answer: impl Future<Output = Result<ClientAuth, Error>> + Send + 'a) -> Self {
        Self(Answer::Future(Box::pin(answer)))
    }

    pub(super) fn lent(lent: Lent) -> Self {
        Self(Answer::Lent(lent))
    }

    /// The answer, if it is known and not an error.
    pub(crate) fn known(&self) -> Option<&ClientAuth> {
        match &self.0 {
            Answer::Ready(answer) => answer.as_ref()?.as_ref().ok(),
            Answer::Lent(lent) => lent.get(),
            Answer::Future(_) => None,
        }
    }
}

impl Future for AuthFuture<'_> {
    type Output = Result<ClientAuth, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Lent(lent) => lent.get().map_or(Poll::Pending, |auth| Poll::Ready(Ok(auth.clone()))),
            Answer::Future(future) => future.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for AuthFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthFuture")
    }
}
