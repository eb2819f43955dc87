//! A transport with deadlines and retries.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use symbolon_types::{Context, SharedClock};

use crate::retry::Outcome;
use crate::{Request, Response, RetryPolicy, SharedTransport, Transport, TransportError, TransportErrorKind};

/// A transport with deadlines and retries: what every leg of Symbolon sends with.
#[derive(Clone)]
pub struct HttpClient {
    transport: SharedTransport,
    context: Context,
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
    /// Creates a client that sends over `transport` and waits on the clock of `context`.
    #[must_use]
    pub fn new(transport: SharedTransport, context: Context) -> Self {
        Self { transport, context }
    }

    /// The transport itself, for a request that is the caller's own.
    #[must_use]
    pub fn transport(&self) -> &SharedTransport {
        &self.transport
    }

    /// Returns the context: the clock it waits on, the randomness and the scale of its delays.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
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
                    retry_after: response.retry_after(self.context.clock().now()),
                },
                Err(error) => Outcome::Failed(error),
            };
            let Some(delay) = attempts.next_delay(&outcome, self.context.jitter()) else {
                return Ok(Sent { response: sent?, attempts: made });
            };
            let delay = delay.mul_f64(self.context.retry_scale());
            tracing::debug!(
                name: "retry",
                attempt = made + 1,
                delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                status = sent.as_ref().ok().map(|response| response.status().as_u16()),
                "the request will be sent again"
            );
            self.context.clock().sleep(delay).await;
        }
    }

    /// Waits before another attempt, by the context's retry scale: for a caller whose
    /// attempts follow no [`RetryPolicy`].
    pub async fn pause(&self, delay: Duration) {
        self.context.clock().sleep(delay.mul_f64(self.context.retry_scale())).await;
    }

    async fn attempt(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        within(self.context.clock(), timeout, self.transport.send(request))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use http::{Method, StatusCode};
    use symbolon_types::{Jitter, ManualClock};

    use super::*;
    use crate::{Route, transport_fn};

    fn request() -> Result<Request, TransportError> {
        Ok(Request::new(Method::GET, "https://login.example/".parse().unwrap(), Route::Public))
    }

    #[test]
    fn what_is_ready_in_time_comes_through_and_what_is_late_does_not() {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        let limit = Duration::from_secs(10);
        let at_once = within(&clock, Duration::ZERO, async { 1 });
        assert_eq!(at_once.now_or_never(), Some(Some(1)), "what is ready needs no time");
        for (takes, outcome) in [(9, Some(1)), (10, Some(1)), (11, None)] {
            let slow = clock.sleep(Duration::from_secs(takes)).map(|()| 1);
            let mut limited = Box::pin(within(&clock, limit, slow));
            let mut waited = Duration::ZERO;
            let got = loop {
                if let Some(got) = (&mut limited).now_or_never() {
                    break got;
                }
                waited += hands.advance_to_next().unwrap();
            };
            assert_eq!((got, waited), (outcome, Duration::from_secs(takes).min(limit)), "{takes}");
            drop(limited);
            assert_eq!(hands.sleepers(), 0, "nobody waits for what was given up");
        }
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_given_up_and_made_again() {
        assert_eq!(waits_of_three_attempts(1.0), [10, 1, 2], "the attempt that was given up, and the delays");
    }

    #[test]
    fn delays_are_scaled_and_timeouts_are_not() {
        assert_eq!(waits_of_three_attempts(3.0), [10, 3, 6]);
        assert_eq!(waits_of_three_attempts(0.0), [10]);
        assert_eq!(waits_of_three_attempts(f64::NAN), [10, 1, 2]);
    }

    /// How long a client waits when the first attempt gets no answer and the second is refused.
    fn waits_of_three_attempts(scale: f64) -> Vec<u64> {
        let hands = ManualClock::new();
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let transport = transport_fn(move |_| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    0 => std::future::pending().await,
                    1 => Ok(Response::new(StatusCode::SERVICE_UNAVAILABLE, "")),
                    _ => Ok(Response::new(StatusCode::OK, "")),
                }
            }
        });
        let transport = SharedTransport::new(transport);
        let context = Context::default().with_clock(&hands).with_jitter(Jitter::fixed(0.5));
        let client = HttpClient::new(transport, context.with_retry_scale(scale));
        let policy = RetryPolicy::imds();
        let mut sending = Box::pin(client.send(&policy, request));
        let mut waits = Vec::new();
        let sent = loop {
            if let Some(sent) = (&mut sending).now_or_never() {
                break sent.unwrap();
            }
            waits.push(hands.advance_to_next().unwrap().as_secs());
        };
        assert_eq!((sent.response.status(), sent.attempts), (StatusCode::OK, 3));
        assert_eq!(made.load(Ordering::SeqCst), 3);
        waits
    }

    #[test]
    fn each_attempt_has_a_request_of_its_own_and_the_last_answer_is_returned_whatever_it_is() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let transport = transport_fn(move |request: Request| {
            log.lock().unwrap().push(request.url().path().to_owned());
            async { Ok(Response::new(StatusCode::SERVICE_UNAVAILABLE, "")) }
        });
        let context = Context::default().with_retry_scale(0.0);
        let client = HttpClient::new(SharedTransport::new(transport), context);
        let mut number = 0;
        let policy = RetryPolicy::token_endpoint();
        let sending = client.send(&policy, || {
            number += 1;
            let url = format!("https://login.example/{number}").parse().unwrap();
            Ok::<_, TransportError>(Request::new(Method::POST, url, Route::Public))
        });
        let sent = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(sending)
            .unwrap();
        assert_eq!((sent.response.status(), sent.attempts), (StatusCode::SERVICE_UNAVAILABLE, 3));
        assert_eq!(*seen.lock().unwrap(), ["/1", "/2", "/3"]);
    }

    #[test]
    fn a_request_that_cannot_be_made_is_not_sent() {
        let transport = transport_fn(|_| async { Ok(Response::new(StatusCode::OK, "")) });
        let client = HttpClient::new(SharedTransport::new(transport), Context::default());
        let policy = RetryPolicy::imds();
        let refused = || Err(TransportError::new(TransportErrorKind::Insecure));
        let sent = client.send(&policy, refused).now_or_never().unwrap();
        assert_eq!(sent.err().map(|error| error.kind()), Some(TransportErrorKind::Insecure));
    }
}
