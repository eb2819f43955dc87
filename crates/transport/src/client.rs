//! A transport with deadlines and retries.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use symbolon_types::{Jitter, SharedClock};

use crate::retry::Outcome;
use crate::{Request, Response, RetryPolicy, SharedTransport, Transport, TransportError, TransportErrorKind};

/// A transport with deadlines and retries: what every leg of Symbolon sends with.
#[derive(Clone)]
pub struct HttpClient {
    transport: SharedTransport,
    clock: SharedClock,
    jitter: Jitter,
}

/// A response, and how many attempts it took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// The last response.
    pub response: Response,
    /// How many requests were sent, at least 1.
    pub attempts: usize,
}

impl HttpClient {
    /// Sends over `transport`, waits on `clock`.
    #[must_use]
    pub fn new(transport: SharedTransport, clock: SharedClock, jitter: Jitter) -> Self {
        Self { transport, clock, jitter }
    }

    /// The transport itself, for a request that is the caller's own.
    #[must_use]
    pub fn transport(&self) -> &SharedTransport {
        &self.transport
    }

    /// The clock it waits on.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The randomness of its delays.
    #[must_use]
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Sends a request, and again as the policy says. `request` is called for each attempt, so
    /// that what must be fresh (a signed assertion) can be.
    ///
    /// The response is whatever came last, also when its status is an error.
    ///
    /// # Errors
    /// Those of `request`, and the last attempt's if there was no response.
    pub async fn send<E: From<TransportError>>(
        &self,
        policy: &RetryPolicy,
        mut request: impl FnMut() -> Result<Request, E>,
    ) -> Result<Sent, E> {
        let mut attempts = policy.start();
        let mut made = 0;
        loop {
            made += 1;
            let sent = self.attempt(request()?, policy.attempt_timeout()).await;
            let outcome = match &sent {
                Ok(response) => Outcome::Answered {
                    status: response.status(),
                    retry_after: response.retry_after(self.clock.now()),
                },
                Err(error) => Outcome::Failed(error),
            };
            let Some(delay) = attempts.next_delay(&outcome, &self.jitter) else {
                return Ok(Sent { response: sent?, attempts: made });
            };
            self.clock.sleep(delay).await;
        }
    }

    async fn attempt(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        within(&self.clock, timeout, self.transport.send(request))
            .await
            .unwrap_or_else(|| Err(TransportErrorKind::Timeout.into()))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// The output of a future, or `None` if it takes longer than `limit` on this clock.
pub async fn within<F: Future>(clock: &SharedClock, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = pin!(clock.sleep(limit));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}
