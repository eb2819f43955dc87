//! An answer that is known, or will be.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_types::Error;

use super::ClientAuth;

/// The answer to [`CredentialSource::resolve`](crate::CredentialSource::resolve): at once, or later.
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
