//! When to try again.

use std::time::Duration;

use http::StatusCode;
use symbolon_types::Jitter;

use crate::{TransportError, TransportErrorKind};

/// A wait that the server asks for is honoured up to this; a longer one ends the attempts, and the
/// error carries it.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Which failures of a request are worth another attempt, how many, and after what delay.
///
/// The delays between attempts follow the tables of the services: [`imds`](Self::imds),
/// [`managed_identity`](Self::managed_identity), [`token_endpoint`](Self::token_endpoint). The whole takes at most
/// `attempts × attempt timeout + sum of the delays`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    statuses: fn(StatusCode) -> bool,
    delays: &'static [Duration],
    gone: Option<Gone>,
    honours_retry_after: bool,
    retries_connections: bool,
    spread: f64,
    attempt_timeout: Duration,
}

/// The special case of 410: the service is being updated and will be back.
#[derive(Clone, Copy, Debug)]
struct Gone {
    retries: usize,
    delay: Duration,
}

/// MSAL.NET `ImdsRetryPolicy`.
const IMDS_DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const IMDS_GONE: Gone = Gone { retries: 7, delay: Duration::from_secs(10) };
/// MSAL.NET `DefaultRetryPolicy`.
const MANAGED_IDENTITY_DELAYS: [Duration; 3] = [Duration::from_secs(1); 3];
/// MSAL.NET retries a token request once; two more attempts ride out a rolling restart.
const TOKEN_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

impl RetryPolicy {
    /// One attempt of 30 seconds.
    #[must_use]
    pub fn once() -> Self {
        Self {
            statuses: |_| false,
            delays: &[],
            gone: None,
            honours_retry_after: false,
            retries_connections: true,
            spread: 0.0,
            attempt_timeout: Duration::from_secs(30),
        }
    }

    /// For the instance metadata service: 404, 408, 410, 429, 5xx, a lost connection and an
    /// attempt of more than 10 seconds are retried after 1, 2 and 4 seconds; if the first answer
    /// is 410, up to seven times, ten seconds after each 410. (MSAL.NET `ImdsRetryPolicy`, less its
    /// failure on timeouts.)
    #[must_use]
    pub fn imds() -> Self {
        Self {
            statuses: |status| matches!(status.as_u16(), 404 | 408 | 410 | 429 | 500..=599),
            delays: &IMDS_DELAYS,
            gone: Some(IMDS_GONE),
            attempt_timeout: Duration::from_secs(10),
            ..Self::once()
        }
    }

    /// The same as [`imds`](Self::imds), except that 404 is final: for an endpoint that a service
    /// either has or has not.
    #[must_use]
    pub fn imds_endpoint() -> Self {
        Self { statuses: |status| matches!(status.as_u16(), 408 | 410 | 429 | 500..=599), ..Self::imds() }
    }

    /// For the local endpoint of any other managed identity source: 404, which an identity gives while it
    /// propagates, 408, 429, 500, 503, 504 and an attempt of more than 30 seconds are retried up to
    /// three times, after a second each or after what `Retry-After` asks. A connection that fails is
    /// not: nobody listens, or it is the wrong server. (MSAL.NET `DefaultRetryPolicy`.)
    #[must_use]
    pub fn managed_identity() -> Self {
        Self {
            statuses: |status| matches!(status.as_u16(), 404 | 408 | 429 | 500 | 503 | 504),
            delays: &MANAGED_IDENTITY_DELAYS,
            honours_retry_after: true,
            retries_connections: false,
            ..Self::once()
        }
    }

    /// For a token endpoint: 408, 429, 5xx, a lost connection and an attempt of more than 30
    /// seconds are retried after 1 and 2 seconds, give or take a quarter, or after what
    /// `Retry-After` asks.
    #[must_use]
    pub fn token_endpoint() -> Self {
        Self {
            statuses: |status| matches!(status.as_u16(), 408 | 429 | 500..=599),
            delays: &TOKEN_DELAYS,
            honours_retry_after: true,
            spread: 0.25,
            ..Self::once()
        }
    }

    /// The same with a single attempt.
    #[must_use]
    pub fn without_retries(mut self) -> Self {
        self.delays = &[];
        self.gone = None;
        self
    }

    /// The same, giving each attempt this long.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    fn retries(&self, error: &TransportError) -> bool {
        error.kind() == TransportErrorKind::Timeout || self.retries_connections && error.is_transient()
    }

    /// Starts counting the attempts of one request.
    pub(crate) fn start(&self) -> Attempts<'_> {
        Attempts { policy: self, made: 0, budget: None }
    }
}

/// What came of an attempt, as far as the policy cares.
pub(crate) enum Outcome<'a> {
    Answered { status: StatusCode, retry_after: Option<Duration> },
    Failed(&'a TransportError),
}

/// The attempts of one request so far.
pub(crate) struct Attempts<'p> {
    policy: &'p RetryPolicy,
    made: usize,
    budget: Option<usize>,
}

impl Attempts<'_> {
    /// Counts an attempt, and says how long to wait before the next; `None` when it was the last.
    pub(crate) fn next_delay(&mut self, outcome: &Outcome<'_>, jitter: &Jitter) -> Option<Duration> {
        let policy = self.policy;
        let is_gone = matches!(outcome, Outcome::Answered { status, .. } if *status == StatusCode::GONE);
        let gone = policy.gone.filter(|_| is_gone);
        // The first failure decides how many retries there are; each decides its own delay.
        let budget = *self.budget.get_or_insert(gone.map_or(policy.delays.len(), |gone| gone.retries));
        let retry = self.made;
        self.made += 1;
        if retry >= budget {
            return None;
        }
        let asked = match outcome {
            Outcome::Answered { status, retry_after } if (policy.statuses)(*status) => {
                retry_after.filter(|_| policy.honours_retry_after)
            }
            Outcome::Failed(error) if policy.retries(error) => None,
            _ => return None,
        };
        if asked.is_some_and(|asked| asked > LONGEST_RETRY_AFTER) {
            return None;
        }
        let planned = match gone {
            Some(gone) => gone.delay,
            None => policy.delays.get(retry).or(policy.delays.last()).copied().unwrap_or_default(),
        };
        let spread = 1.0 + policy.spread * (2.0 * jitter.draw() - 1.0);
        Some(planned.mul_f64(spread).max(asked.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: &RetryPolicy, outcomes: &[Outcome<'_>]) -> Vec<f64> {
        let mut attempts = policy.start();
        let jitter = Jitter::fixed(0.5);
        outcomes
            .iter()
            .map_while(|outcome| attempts.next_delay(outcome, &jitter))
            .map(|d| d.as_secs_f64())
            .collect()
    }

    fn asking(status: StatusCode, seconds: u64) -> Outcome<'static> {
        Outcome::Answered { status, retry_after: Some(Duration::from_secs(seconds)) }
    }

    fn statuses(codes: &[u16]) -> Vec<Outcome<'static>> {
        let answered =
            |code| Outcome::Answered { status: StatusCode::from_u16(code).unwrap(), retry_after: None };
        codes.iter().copied().map(answered).collect()
    }

    #[test]
    fn the_metadata_service_is_asked_again_as_its_table_says() {
        for (answers, expected) in [
            (&[500; 9][..], &[1.0, 2.0, 4.0][..]),
            (&[404; 9], &[1.0, 2.0, 4.0]),
            (&[410; 9], &[10.0; 7]),
            (&[404, 410, 410, 410, 410], &[1.0, 10.0, 10.0]),
            (&[410, 500, 500, 500, 500], &[10.0, 2.0, 4.0, 4.0, 4.0]),
            (&[408, 429, 599, 500], &[1.0, 2.0, 4.0]),
            (&[400], &[]),
            (&[401], &[]),
            (&[600], &[]),
        ] {
            assert_eq!(delays(&RetryPolicy::imds(), &statuses(answers)), expected, "{answers:?}");
        }
        let endpoint = RetryPolicy::imds_endpoint();
        assert!(delays(&endpoint, &statuses(&[404])).is_empty());
        assert_eq!(delays(&endpoint, &statuses(&[408, 429, 599, 500])), [1.0, 2.0, 4.0]);
        assert_eq!(delays(&endpoint, &statuses(&[410; 9])), [10.0; 7]);
        let busy = [asking(StatusCode::TOO_MANY_REQUESTS, 7)];
        assert_eq!(delays(&RetryPolicy::imds(), &busy), [1.0], "it has its own table");
    }

    #[test]
    fn an_attempt_at_the_metadata_service_is_given_up_sooner() {
        let seconds = |policy: RetryPolicy| policy.attempt_timeout().as_secs();
        assert_eq!([RetryPolicy::imds(), RetryPolicy::imds_endpoint()].map(seconds), [10, 10]);
        assert_eq!([RetryPolicy::token_endpoint(), RetryPolicy::once()].map(seconds), [30, 30]);
        let patient = RetryPolicy::imds().with_attempt_timeout(Duration::from_secs(99));
        assert_eq!(seconds(patient), 99);
    }

    #[test]
    fn a_token_endpoint_is_asked_again_as_it_asks() {
        let policy = RetryPolicy::token_endpoint();
        for (answers, expected) in [
            (&[503, 429, 500][..], &[1.0, 2.0][..]),
            (&[408, 599], &[1.0, 2.0]),
            (&[400], &[]),
            (&[404], &[]),
            (&[410], &[]),
        ] {
            assert_eq!(delays(&policy, &statuses(answers)), expected, "{answers:?}");
        }
        // What is asked for is the least; longer than a minute nobody waits.
        for (seconds, expected) in
            [(0, &[1.0][..]), (1, &[1.0]), (7, &[7.0]), (60, &[60.0]), (61, &[]), (u64::MAX, &[])]
        {
            let busy = [asking(StatusCode::TOO_MANY_REQUESTS, seconds)];
            assert_eq!(delays(&policy, &busy), expected, "{seconds}");
        }
        let refused = [asking(StatusCode::BAD_REQUEST, 7)];
        assert!(delays(&policy, &refused).is_empty(), "a wait does not make a refusal worth a retry");
    }

    #[test]
    fn a_local_endpoint_is_asked_again_as_its_table_says() {
        let policy = RetryPolicy::managed_identity();
        for status in [404, 408, 429, 500, 503, 504] {
            assert_eq!(delays(&policy, &statuses(&[status; 9])), [1.0; 3], "{status}");
        }
        for status in [400, 401, 403, 410, 501, 502, 505] {
            assert!(delays(&policy, &statuses(&[status; 9])).is_empty(), "{status}");
        }
        for (seconds, expected) in [(0, &[1.0][..]), (3, &[3.0]), (60, &[60.0]), (61, &[])] {
            assert_eq!(delays(&policy, &[asking(StatusCode::INTERNAL_SERVER_ERROR, seconds)]), expected);
        }
        use TransportErrorKind as Kind;
        for (kind, again) in [(Kind::Timeout, true), (Kind::Connect, false), (Kind::Interrupted, false)] {
            let error = TransportError::new(kind);
            assert_eq!(!delays(&policy, &[Outcome::Failed(&error)]).is_empty(), again, "{kind:?}");
        }
        assert_eq!(policy.attempt_timeout().as_secs(), 30);
    }

    #[test]
    fn without_retries_every_answer_is_the_last() {
        for policy in [RetryPolicy::imds(), RetryPolicy::managed_identity(), RetryPolicy::token_endpoint()] {
            let policy = policy.without_retries();
            for status in [404, 410, 500] {
                assert!(delays(&policy, &statuses(&[status])).is_empty(), "{status}");
            }
            let error = TransportError::new(TransportErrorKind::Timeout);
            assert!(delays(&policy, &[Outcome::Failed(&error)]).is_empty());
        }
    }

    #[test]
    fn jitter_moves_a_delay_by_at_most_a_quarter() {
        for (draw, expected) in [(0.0, 0.75), (1.0, 1.25)] {
            let policy = RetryPolicy::token_endpoint();
            let delay = policy.start().next_delay(&statuses(&[503])[0], &Jitter::fixed(draw));
            assert_eq!(delay.map(|d| d.as_secs_f64()), Some(expected));
        }
    }

    #[test]
    fn only_failures_that_may_pass_are_tried_again() {
        use crate::TransportErrorKind as Kind;
        for (kind, again) in [
            (Kind::Timeout, true),
            (Kind::Interrupted, true),
            (Kind::Connect, true),
            (Kind::IdentityRejected, false),
            (Kind::Tls, false),
            (Kind::TooLarge, false),
            (Kind::Insecure, false),
        ] {
            let error = TransportError::new(kind);
            assert_eq!(
                !delays(&RetryPolicy::imds(), &[Outcome::Failed(&error)]).is_empty(),
                again,
                "{kind:?}"
            );
        }
    }
}
