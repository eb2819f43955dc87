//! Retry policies.

use std::time::Duration;

use http::StatusCode;
use symbolon_types::Jitter;

use crate::error::TransportError;
use crate::error_kind::TransportErrorKind;

/// The longest `Retry-After` that is waited for. A longer one ends the attempts, and the error
/// carries it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// docs/protocol/imdsv2.md#retries
const IMDS_DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const IMDS_GONE: GoneRetries = GoneRetries { retries: 7, delay: Duration::from_secs(10) };
/// docs/protocol/sources.md#retries
const SOURCE_DELAYS: [Duration; 3] = [Duration::from_secs(1); 3];
/// docs/protocol/token-request.md#retries
const TOKEN_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// Returns true for a status after which the same request may succeed: 408, 429 and 5xx
/// (docs/protocol/errors.md#transient-statuses).
///
/// A service that differs states the difference in its [`RetryPolicy`].
#[must_use]
pub fn is_transient_status(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// The failures of a request that are retried, the number of retries and their delays.
///
/// There is one policy for each kind of service: [`imds`](Self::imds),
/// [`managed_identity`](Self::managed_identity), [`token_endpoint`](Self::token_endpoint). A
/// request takes at most `attempts × attempt timeout + sum of the delays`. A request that is not
/// [idempotent](crate::Idempotence) is retried only if the server has provably not processed it.
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryPolicy {
    statuses: fn(StatusCode) -> bool,
    delays: &'static [Duration],
    /// The delays after a connection that failed or was lost; their number is that of `delays`.
    connection_delays: &'static [Duration],
    gone: Option<GoneRetries>,
    honours_retry_after: bool,
    /// The share of a delay by which jitter moves it, in either direction.
    spread: f64,
    attempt_timeout: Duration,
}

/// The retries after 410, with which a metadata service announces an update.
#[derive(Clone, Copy, Debug)]
struct GoneRetries {
    retries: usize,
    delay: Duration,
}

impl RetryPolicy {
    /// Returns a policy of one attempt of 30 seconds.
    pub fn once() -> Self {
        Self {
            statuses: is_transient_status,
            delays: &[],
            connection_delays: &[],
            gone: None,
            honours_retry_after: false,
            spread: 0.0,
            attempt_timeout: Duration::from_secs(30),
        }
    }

    /// Returns the policy of the instance metadata service
    /// (docs/protocol/imdsv2.md#retries).
    ///
    /// A [transient status](is_transient_status), 404, 410, a lost connection and an attempt of
    /// more than 10 seconds are retried after 1, 2 and 4 seconds. If the first status is 410, there
    /// are up to seven retries, with ten seconds after each 410.
    pub fn imds() -> Self {
        Self {
            statuses: |status| is_transient_status(status) || matches!(status.as_u16(), 404 | 410),
            delays: &IMDS_DELAYS,
            connection_delays: &IMDS_DELAYS,
            gone: Some(IMDS_GONE),
            attempt_timeout: Duration::from_secs(10),
            ..Self::once()
        }
    }

    /// Returns the policy [`imds`](Self::imds) without 404, for an endpoint that a version of the
    /// service may lack.
    pub fn imds_endpoint() -> Self {
        Self { statuses: |status| is_transient_status(status) || status == StatusCode::GONE, ..Self::imds() }
    }

    /// Returns the policy of the other managed identity sources
    /// (docs/protocol/sources.md#retries).
    ///
    /// 404, which an identity returns while it propagates, 408, 429, 500, 502 to 504 and an attempt
    /// of more than 30 seconds are retried three times, after one second each or after
    /// `Retry-After`. A connection that is refused or lost is retried with the delays of
    /// [`imds`](Self::imds), because a source may start after the program that uses it.
    pub fn managed_identity() -> Self {
        Self {
            statuses: |status| match status.as_u16() {
                404 | 500 | 502..=504 => true,
                code => code < 500 && is_transient_status(status),
            },
            delays: &SOURCE_DELAYS,
            connection_delays: &IMDS_DELAYS,
            honours_retry_after: true,
            ..Self::once()
        }
    }

    /// Returns the policy of token endpoints (docs/protocol/token-request.md#retries).
    ///
    /// A [transient status](is_transient_status), a lost connection and an attempt of more than 30
    /// seconds are retried after 1 and 2 seconds, moved by up to a quarter, or after `Retry-After`.
    pub fn token_endpoint() -> Self {
        Self {
            delays: &TOKEN_DELAYS,
            connection_delays: &TOKEN_DELAYS,
            honours_retry_after: true,
            spread: 0.25,
            ..Self::once()
        }
    }

    /// Limits the policy to one attempt.
    pub fn without_retries(mut self) -> Self {
        self.delays = &[];
        self.connection_delays = &[];
        self.gone = None;
        self
    }

    /// Sets the time limit of one attempt.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Returns the time limit of one attempt.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// Returns true if the service considers this status transient.
    #[must_use]
    pub fn is_transient_status(&self, status: StatusCode) -> bool {
        (self.statuses)(status)
    }

    /// Starts the attempts of one request.
    pub(crate) fn start(&self) -> Attempts<'_> {
        Attempts { policy: self, made: 0, budget: None }
    }
}

/// The result of one attempt.
pub(crate) enum AttemptResult<'a> {
    Response { status: StatusCode, retry_after: Option<Duration> },
    Failed(&'a TransportError),
}

/// The attempts made for one request.
pub(crate) struct Attempts<'p> {
    policy: &'p RetryPolicy,
    made: usize,
    budget: Option<usize>,
}

impl Attempts<'_> {
    /// Counts an attempt. Returns the delay before the next one, or `None` after the last.
    pub(crate) fn next_delay(&mut self, result: &AttemptResult<'_>, jitter: &Jitter) -> Option<Duration> {
        let policy = self.policy;
        let is_gone = matches!(result, AttemptResult::Response { status, .. } if *status == StatusCode::GONE);
        let gone = policy.gone.filter(|_| is_gone);
        // The first failure determines the number of retries; each determines its own delay.
        let budget = *self.budget.get_or_insert(gone.map_or(policy.delays.len(), |gone| gone.retries));
        let retry = self.made;
        self.made += 1;
        if retry >= budget {
            return None;
        }
        let requested = match result {
            AttemptResult::Response { status, retry_after } if policy.is_transient_status(*status) => {
                retry_after.filter(|_| policy.honours_retry_after)
            }
            AttemptResult::Failed(error) if error.is_transient() => None,
            _ => return None,
        };
        if requested.is_some_and(|delay| delay > MAX_RETRY_AFTER) {
            return None;
        }
        let delays = match result {
            AttemptResult::Failed(error) if error.kind() != TransportErrorKind::Timeout => {
                policy.connection_delays
            }
            _ => policy.delays,
        };
        let planned = match gone {
            Some(gone) => gone.delay,
            None => delays.get(retry).or(delays.last()).copied().unwrap_or_default(),
        };
        let spread = 1.0 + policy.spread * (2.0 * jitter.draw() - 1.0);
        Some(planned.mul_f64(spread).max(requested.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: &RetryPolicy, outcomes: &[AttemptResult<'_>]) -> Vec<f64> {
        let mut attempts = policy.start();
        let jitter = Jitter::fixed(0.5);
        outcomes
            .iter()
            .map_while(|outcome| attempts.next_delay(outcome, &jitter))
            .map(|d| d.as_secs_f64())
            .collect()
    }

    fn retry_after(status: StatusCode, seconds: u64) -> AttemptResult<'static> {
        AttemptResult::Response { status, retry_after: Some(Duration::from_secs(seconds)) }
    }

    fn statuses(codes: &[u16]) -> Vec<AttemptResult<'static>> {
        let answered =
            |code| AttemptResult::Response { status: StatusCode::from_u16(code).unwrap(), retry_after: None };
        codes.iter().copied().map(answered).collect()
    }

    #[test]
    fn transient_statuses() {
        for (code, expected) in [
            (200, false),
            (400, false),
            (404, false),
            (408, true),
            (410, false),
            (429, true),
            (500, true),
            (599, true),
            (600, false),
        ] {
            assert_eq!(is_transient_status(StatusCode::from_u16(code).unwrap()), expected, "{code}");
        }
    }

    #[test]
    fn imds_retries_follow_its_table() {
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
        let busy = [retry_after(StatusCode::TOO_MANY_REQUESTS, 7)];
        assert_eq!(delays(&RetryPolicy::imds(), &busy), [1.0], "Retry-After is ignored");
    }

    #[test]
    fn imds_attempts_have_a_shorter_timeout() {
        let seconds = |policy: RetryPolicy| policy.attempt_timeout().as_secs();
        assert_eq!([RetryPolicy::imds(), RetryPolicy::imds_endpoint()].map(seconds), [10, 10]);
        assert_eq!([RetryPolicy::token_endpoint(), RetryPolicy::once()].map(seconds), [30, 30]);
        let patient = RetryPolicy::imds().with_attempt_timeout(Duration::from_secs(99));
        assert_eq!(seconds(patient), 99);
    }

    #[test]
    fn token_endpoint_retries_honour_retry_after() {
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
        // Retry-After is a lower bound; more than a minute ends the attempts.
        for (seconds, expected) in
            [(0, &[1.0][..]), (1, &[1.0]), (7, &[7.0]), (60, &[60.0]), (61, &[]), (u64::MAX, &[])]
        {
            let busy = [retry_after(StatusCode::TOO_MANY_REQUESTS, seconds)];
            assert_eq!(delays(&policy, &busy), expected, "{seconds}");
        }
        let refused = [retry_after(StatusCode::BAD_REQUEST, 7)];
        assert!(delays(&policy, &refused).is_empty(), "Retry-After does not make a 400 retryable");
    }

    #[test]
    fn source_retries_follow_their_table() {
        let policy = RetryPolicy::managed_identity();
        for status in [404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(delays(&policy, &statuses(&[status; 9])), [1.0; 3], "{status}");
        }
        for status in [400, 401, 403, 410, 501, 505] {
            assert!(delays(&policy, &statuses(&[status; 9])).is_empty(), "{status}");
        }
        for (seconds, expected) in [(0, &[1.0][..]), (3, &[3.0]), (60, &[60.0]), (61, &[])] {
            assert_eq!(delays(&policy, &[retry_after(StatusCode::INTERNAL_SERVER_ERROR, seconds)]), expected);
        }
        use TransportErrorKind as Kind;
        for (kind, expected) in [
            (Kind::Timeout, &[1.0; 3][..]),
            (Kind::Connect, &[1.0, 2.0, 4.0]),
            (Kind::Interrupted, &[1.0, 2.0, 4.0]),
            (Kind::Tls, &[]),
            (Kind::Protocol, &[]),
            (Kind::Insecure, &[]),
        ] {
            let error = TransportError::new(kind);
            let failures: Vec<_> = (0..9).map(|_| AttemptResult::Failed(&error)).collect();
            assert_eq!(delays(&policy, &failures), expected, "{kind:?}");
        }
        assert_eq!(policy.attempt_timeout().as_secs(), 30);
    }

    #[test]
    fn without_retries_makes_one_attempt() {
        for policy in [RetryPolicy::imds(), RetryPolicy::managed_identity(), RetryPolicy::token_endpoint()] {
            let policy = policy.without_retries();
            for status in [404, 410, 500] {
                assert!(delays(&policy, &statuses(&[status])).is_empty(), "{status}");
            }
            let error = TransportError::new(TransportErrorKind::Timeout);
            assert!(delays(&policy, &[AttemptResult::Failed(&error)]).is_empty());
        }
    }

    #[test]
    fn jitter_moves_delay_by_up_to_a_quarter() {
        for (draw, expected) in [(0.0, 0.75), (1.0, 1.25)] {
            let policy = RetryPolicy::token_endpoint();
            let delay = policy.start().next_delay(&statuses(&[503])[0], &Jitter::fixed(draw));
            assert_eq!(delay.map(|d| d.as_secs_f64()), Some(expected));
        }
    }

    #[test]
    fn only_transient_failures_are_retried() {
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
                !delays(&RetryPolicy::imds(), &[AttemptResult::Failed(&error)]).is_empty(),
                again,
                "{kind:?}"
            );
        }
    }
}
