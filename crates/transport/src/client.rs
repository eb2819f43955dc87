//! A transport with deadlines and retries.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use symbolon_types::{Context, Secrets, SharedClock};

use crate::error::TransportError;
use crate::error_kind::TransportErrorKind;
use crate::pending::{PendingRequest, observe};
use crate::request::{Idempotence, Request};
use crate::response::Response;
use crate::retry::{AttemptResult, RetryPolicy};
use crate::transport::{SharedTransport, Transport};

/// A transport with deadlines and retries. All crates of Symbolon send their requests with it.
#[derive(Clone)]
pub struct HttpClient {
    transport: SharedTransport,
    context: Context,
}

/// A response and the number of attempts that it took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOutcome {
    /// The last response.
    pub response: Response,
    /// The number of requests that were sent, at least 1.
    pub attempts: usize,
}

impl HttpClient {
    /// Creates a client that sends over `transport` and waits on the clock of `context`.
    #[must_use]
    pub fn new(transport: SharedTransport, context: Context) -> Self {
        Self { transport, context }
    }

    /// Returns the transport.
    #[must_use]
    pub fn transport(&self) -> &SharedTransport {
        &self.transport
    }

    /// Returns the context: the clock, the jitter and the scale of retry delays, the variables.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Sends a request, with the retries of `policy`. `request` is called for each attempt, so that
    /// each can carry a fresh signed assertion.
    ///
    /// A request that is not [idempotent](Idempotence) is retried only if the server has provably
    /// not processed it, according to the [response](Response::is_unprocessed) or the
    /// [error](TransportError::is_unprocessed). After a timeout the server may have processed it.
    ///
    /// The last response is returned even if its status is an error.
    ///
    /// # Errors
    /// The error of `request`, or of the last attempt if it got no response.
    pub async fn send<E: From<TransportError>>(
        &self,
        policy: &RetryPolicy,
        mut request: impl FnMut() -> Result<Request, E>,
    ) -> Result<HttpOutcome, E> {
        let clock = self.context.clock();
        let mut attempts = policy.start();
        let mut made = 0;
        // Of all attempts: a server may repeat those of an earlier one.
        let mut sent = Secrets::none();
        loop {
            made += 1;
            let request = request()?;
            sent.extend(request.secrets());
            let is_idempotent = request.idempotence() != Idempotence::None;
            let (phase, destination) = (request.phase().clone(), request.destination());
            phase.clear();
            let pending = PendingRequest::new(destination.as_deref().unwrap_or("no host"), phase.clone());
            let limit = policy.attempt_timeout();
            let attempt = pending.run(timeout(clock, limit, Box::pin(self.transport.send(request))));
            let result = attempt.await.unwrap_or_else(|| {
                let error = TransportError::new(TransportErrorKind::Timeout);
                Err(error.with_destination(destination).with_limit(limit, phase.phase()))
            });
            let attempt = match &result {
                Ok(response) => AttemptResult::Response {
                    status: response.status(),
                    retry_after: response.retry_after(clock.now()),
                },
                Err(error) => AttemptResult::Failed(error),
            };
            let is_unprocessed =
                result.as_ref().map_or_else(TransportError::is_unprocessed, Response::is_unprocessed);
            let delay = attempts.next_delay(&attempt, self.context.jitter());
            let Some(delay) = delay.filter(|_| is_idempotent || is_unprocessed) else {
                return Ok(HttpOutcome { response: result?.with_sent_secrets(sent), attempts: made });
            };
            let scaled = delay.mul_f64(self.context.retry_scale());
            tracing::debug!(
                name: "retry",
                attempt = made + 1,
                delay_ms = u64::try_from(scaled.as_millis()).unwrap_or(u64::MAX),
                status = result.as_ref().ok().map(|response| response.status().as_u16()),
                "the request will be sent again"
            );
            pending.paused().run(self.pause(delay)).await;
        }
    }

    /// Waits between attempts that follow no [`RetryPolicy`], scaled by the context.
    pub async fn pause(&self, delay: Duration) {
        self.context.clock().sleep(delay.mul_f64(self.context.retry_scale())).await;
    }
}

symbolon_types::debug_fields!(HttpClient: transport);

/// Returns the output of a future, or `None` after `limit` on this clock.
///
/// The limit also holds for a future that never waits, such as one that reads from a fast peer.
pub async fn timeout<F: Future>(clock: &SharedClock, limit: Duration, future: F) -> Option<F::Output> {
    stop_when(clock.sleep(limit), future).await.ok()
}

/// Returns the output of a future, or after `limit` the request that it waited for, if that is one
/// of an [`HttpClient`] or [runs](PendingRequest::run) as a pending request.
///
/// # Errors
/// The request.
pub async fn timeout_or_pending<F: Future>(
    clock: &SharedClock,
    limit: Duration,
    future: F,
) -> Result<F::Output, Option<PendingRequest>> {
    let mut last = None;
    // Boxed, because a debug build copies a large future onto the stack at each level.
    let observed = observe(&mut last, Box::pin(future));
    let output = timeout(clock, limit, observed).await;
    output.ok_or(last)
}

/// Returns the output of a future, or the output of `stop` if only that is ready.
///
/// `stop` is polled after each poll of the future, and not before its first. It must not depend on
/// the budget that Tokio gives a task for each poll, which a future that never waits uses up; the
/// timer of a clock does not.
///
/// # Errors
/// The output of `stop`.
pub async fn stop_when<F: Future, S: Future>(stop: S, future: F) -> Result<F::Output, S::Output> {
    let (mut stop, mut future) = (pin!(stop), pin!(future));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => stop.as_mut().poll(context).map(Err),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use http::header::RETRY_AFTER;
    use http::{HeaderValue, Method, StatusCode};
    use symbolon_types::{Jitter, ManualClock};

    use super::*;
    use crate::testing::ScriptedTransport;
    use crate::{RequestPhase, Route, transport_fn};

    fn request() -> Result<Request, TransportError> {
        Ok(Request::new(Method::GET, "https://login.example/".parse().unwrap(), Route::Public))
    }

    #[test]
    fn timeout_limits_a_future() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let limit = Duration::from_secs(10);
        let at_once = timeout(&clock, Duration::ZERO, async { 1 });
        assert_eq!(at_once.now_or_never(), Some(Some(1)), "a ready future needs no time");
        for (takes, outcome) in [(9, Some(1)), (10, Some(1)), (11, None)] {
            let slow = clock.sleep(Duration::from_secs(takes)).map(|()| 1);
            let mut limited = Box::pin(timeout(&clock, limit, slow));
            let mut waited = Duration::ZERO;
            let got = loop {
                if let Some(got) = (&mut limited).now_or_never() {
                    break got;
                }
                waited += manual_clock.advance_to_next().unwrap();
            };
            assert_eq!((got, waited), (outcome, Duration::from_secs(takes).min(limit)), "{takes}");
            drop(limited);
            assert_eq!(manual_clock.sleepers(), 0, "the timer is dropped");
        }
    }

    /// The future uses up the budget of its task at each poll.
    #[tokio::test]
    async fn timeout_ends_a_busy_future() {
        let busy = async {
            for _ in 0..50_000_000 {
                tokio::task::coop::consume_budget().await;
            }
        };
        let limited = timeout(&SharedClock::system(), Duration::from_millis(1), busy).await;
        assert_eq!(limited, None);
    }

    #[test]
    fn timeout_names_server_limit_and_phase() {
        let manual_clock = ManualClock::new();
        let transport = transport_fn(|request: Request| async move {
            request.phase().enter(RequestPhase::Handshake);
            std::future::pending().await
        });
        let context = Context::default().with_clock(&manual_clock);
        let client = HttpClient::new(SharedTransport::new(transport), context);
        let policy = RetryPolicy::once();
        let mut sending = Box::pin(client.send(&policy, request));
        assert!((&mut sending).now_or_never().is_none());
        manual_clock.advance_to_next();
        let error = sending.now_or_never().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "login.example:443 did not respond in time (waited 30s for the TLS handshake)"
        );
    }

    /// Returns the request that a future waits for after this number of timers.
    fn waited_for<F: Future>(future: F, manual_clock: &ManualClock, timers: usize) -> Option<String> {
        let clock = SharedClock::from(manual_clock);
        let mut limited = Box::pin(timeout_or_pending(&clock, Duration::from_secs(60), future));
        for _ in 0..timers {
            assert!((&mut limited).now_or_never().is_none());
            manual_clock.advance_to_next();
        }
        assert!((&mut limited).now_or_never().is_none());
        manual_clock.advance(Duration::from_secs(60));
        match limited.now_or_never().unwrap() {
            Ok(_) => panic!("it ended"),
            Err(request) => request.map(|request| request.to_string()),
        }
    }

    #[test]
    fn deadline_names_the_pending_request() {
        let manual_clock = ManualClock::new();
        let context = Context::default().with_clock(&manual_clock);
        let client = |answers: usize, retry_scale: f64| {
            let made = AtomicUsize::new(0);
            let transport = transport_fn(move |request: Request| {
                request.phase().enter(RequestPhase::Handshake);
                let is_answered = made.fetch_add(1, Ordering::SeqCst) < answers;
                async move {
                    match is_answered {
                        true => Ok(Response::new(StatusCode::SERVICE_UNAVAILABLE, "")),
                        false => std::future::pending().await,
                    }
                }
            });
            HttpClient::new(SharedTransport::new(transport), context.clone().with_retry_scale(retry_scale))
        };
        let policy = RetryPolicy::token_endpoint().with_attempt_timeout(Duration::from_secs(1000));
        let (silent, busy, patient) = (client(0, 1.0), client(1, 1.0), client(1, 1000.0));
        let send = || silent.send(&policy, request);
        let clock = SharedClock::from(&manual_clock);
        let nested = async { timeout(&clock, Duration::from_secs(1000), send()).await };
        let finished = async {
            let once = RetryPolicy::once();
            client(1, 1.0).send(&once, request).await.unwrap();
            std::future::pending::<()>().await;
        };
        let handshake = Some("the TLS handshake (login.example:443)".to_owned());
        assert_eq!(waited_for(send(), &manual_clock, 0), handshake);
        assert_eq!(waited_for(nested, &manual_clock, 0), handshake);
        assert_eq!(waited_for(busy.send(&policy, request), &manual_clock, 1), handshake);
        let paused = waited_for(patient.send(&policy, request), &manual_clock, 0);
        assert_eq!(paused.as_deref(), Some("the next attempt (login.example:443)"));
        assert_eq!(waited_for(finished, &manual_clock, 0), None);
        assert_eq!(waited_for(std::future::pending::<()>(), &manual_clock, 0), None);
    }

    #[test]
    fn slow_attempt_times_out_and_is_retried() {
        assert_eq!(
            waits_of_three_attempts(1.0),
            [10, 1, 2],
            "the timeout of the first attempt, then the delays"
        );
    }

    #[test]
    fn retry_scale_applies_to_delays_only() {
        assert_eq!(waits_of_three_attempts(3.0), [10, 3, 6]);
        assert_eq!(waits_of_three_attempts(0.0), [10]);
        assert_eq!(waits_of_three_attempts(f64::NAN), [10, 1, 2]);
    }

    #[test]
    fn retry_scale_applies_to_retry_after() {
        let manual_clock = ManualClock::new();
        let transport = transport_fn(|_| async {
            let headers = [(RETRY_AFTER, HeaderValue::from_static("60"))].into_iter().collect();
            Ok(Response::new(StatusCode::SERVICE_UNAVAILABLE, "").with_headers(headers))
        });
        let context = Context::default().with_clock(&manual_clock).with_retry_scale(0.5);
        let client = HttpClient::new(SharedTransport::new(transport), context);
        let policy = RetryPolicy::token_endpoint();
        let mut sending = Box::pin(client.send(&policy, request));
        for _ in 0..2 {
            assert!((&mut sending).now_or_never().is_none());
            assert_eq!(manual_clock.advance_to_next(), Some(Duration::from_secs(30)));
        }
        assert_eq!(sending.now_or_never().unwrap().unwrap().attempts, 3);
    }

    /// Returns the waits, in seconds, of a client whose first attempt times out and whose second is
    /// refused.
    fn waits_of_three_attempts(scale: f64) -> Vec<u64> {
        let manual_clock = ManualClock::new();
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
        let context = Context::default().with_clock(&manual_clock).with_jitter(Jitter::fixed(0.5));
        let client = HttpClient::new(transport, context.with_retry_scale(scale));
        let policy = RetryPolicy::imds();
        let mut sending = Box::pin(client.send(&policy, request));
        let mut waits = Vec::new();
        let sent = loop {
            if let Some(sent) = (&mut sending).now_or_never() {
                break sent.unwrap();
            }
            waits.push(manual_clock.advance_to_next().unwrap().as_secs());
        };
        assert_eq!((sent.response.status(), sent.attempts), (StatusCode::OK, 3));
        assert_eq!(made.load(Ordering::SeqCst), 3);
        waits
    }

    #[test]
    fn each_attempt_builds_a_new_request() {
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
            let request = Request::new(Method::POST, url, Route::Public);
            Ok::<_, TransportError>(request.with_idempotence(Idempotence::Operation))
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

    /// Returns the number of attempts for a request of this idempotence that fails with `result`
    /// each time.
    fn attempts(idempotence: Idempotence, result: &Result<Response, TransportError>) -> usize {
        let transport = ScriptedTransport::new(vec![result.clone(); 9]);
        let context = Context::default().with_clock(&ManualClock::new()).with_retry_scale(0.0);
        let client = HttpClient::new(SharedTransport::new(transport.clone()), context);
        let policy = RetryPolicy::token_endpoint();
        let make = || Ok(request()?.with_idempotence(idempotence));
        let _last = client.send::<TransportError>(&policy, make).now_or_never().unwrap();
        transport.requests().len()
    }

    #[test]
    fn processed_request_is_not_retried() {
        use TransportErrorKind as Kind;
        let status = |code: u16| Ok(Response::new(StatusCode::from_u16(code).unwrap(), ""));
        let busy = |code| {
            let headers = [(RETRY_AFTER, HeaderValue::from_static("1"))].into_iter().collect();
            status(code).map(|response| response.with_headers(headers))
        };
        for (result, is_unprocessed) in [
            (Err(Kind::Connect.into()), true),
            (Err(TransportError::new(Kind::Interrupted).with_unprocessed(true)), true),
            (Err(Kind::Interrupted.into()), false),
            (Err(Kind::Timeout.into()), false),
            (status(408), true),
            (status(429), true),
            (busy(503), true),
            (status(503), false),
            (status(500), false),
            (busy(500), false),
            (busy(502), false),
            (status(504), false),
        ] {
            let expected = if is_unprocessed { 3 } else { 1 };
            assert_eq!(attempts(Idempotence::None, &result), expected, "{result:?}");
            assert_eq!(attempts(Idempotence::Operation, &result), 3, "{result:?}");
            assert_eq!(attempts(Idempotence::Message, &result), 3, "{result:?}");
        }
    }

    #[test]
    fn idempotence_follows_the_method() {
        let url = || "https://login.example/".parse().unwrap();
        for (method, expected) in [
            (Method::GET, Idempotence::Message),
            (Method::PUT, Idempotence::Message),
            (Method::DELETE, Idempotence::Message),
            (Method::POST, Idempotence::None),
            (Method::PATCH, Idempotence::None),
            (Method::from_bytes(b"PURGE").unwrap(), Idempotence::None),
        ] {
            assert_eq!(Request::new(method, url(), Route::Public).idempotence(), expected);
        }
    }

    #[test]
    fn failed_request_builder_sends_nothing() {
        let transport = transport_fn(|_| async { Ok(Response::new(StatusCode::OK, "")) });
        let client = HttpClient::new(SharedTransport::new(transport), Context::default());
        let policy = RetryPolicy::imds();
        let refused = || Err(TransportError::new(TransportErrorKind::Insecure));
        let sent = client.send(&policy, refused).now_or_never().unwrap();
        assert_eq!(sent.err().map(|error| error.kind()), Some(TransportErrorKind::Insecure));
    }
}
