//! Checks of the tokens that a server needs for its clients.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use symbolon_types::{Error, ErrorKind, SharedClock, SteadyTime};
use tokio::sync::watch;

/// The time for which the failure of a check is reported without another check.
const FAILURE_TIME: Duration = Duration::from_secs(5);
/// The time in which checks can end before the response. Kubernetes waits for a second.
const RESPONSE_TIME: Duration = Duration::from_millis(800);

/// The future of a check: it requests a token, mostly from the cache, and returns its expiry.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<SystemTime, Error>> + Send>>;

/// A check that the token of an identity for a resource can be had.
pub struct ReadinessCheck {
    identity: String,
    resource: String,
    run: Box<dyn Fn() -> CheckFuture + Send + Sync>,
    state: watch::Sender<CheckState>,
}

#[derive(Default)]
struct CheckState {
    is_running: bool,
    /// The end of the last check, and its result.
    last: Option<(SteadyTime, Result<SystemTime, CheckError>)>,
}

/// The error of a check.
#[derive(Clone)]
pub(crate) struct CheckError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl From<Error> for CheckError {
    fn from(error: Error) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// The result of a check.
pub(crate) struct CheckReport<'a> {
    pub(crate) identity: &'a str,
    pub(crate) resource: &'a str,
    /// The expiry of the token, or the reason that there is none.
    pub(crate) result: Result<SystemTime, CheckError>,
}

impl ReadinessCheck {
    /// Creates a check by this future, with the names of identity and resource in the report.
    pub fn new(
        identity: impl Into<String>,
        resource: impl Into<String>,
        run: impl Fn() -> CheckFuture + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (identity, resource) = (identity.into(), resource.into());
        Arc::new(Self { identity, resource, run: Box::new(run), state: watch::Sender::default() })
    }

    /// Starts the check, unless it is running or failed a moment ago: clients without the secret
    /// cause no load.
    fn start(self: &Arc<Self>, clock: &SharedClock) {
        let now = clock.steady_now();
        let is_started = self.state.send_if_modified(|state| {
            let has_just_failed =
                matches!(state.last, Some((ended, Err(_))) if now.since(ended) < FAILURE_TIME);
            let starts = !state.is_running && !has_just_failed;
            state.is_running |= starts;
            starts
        });
        if is_started {
            let mut end = CheckEnd { check: Arc::clone(self), clock: clock.clone(), result: Err(panicked()) };
            tokio::spawn(async move {
                let run = (end.check.run)();
                end.result = run.await.map_err(CheckError::from);
                drop(end);
            });
        }
    }

    async fn ended(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ended = state.wait_for(|state| !state.is_running).await;
    }

    fn report(&self) -> CheckReport<'_> {
        let state = self.state.borrow();
        let result = match &state.last {
            Some((_, result)) => result.clone(),
            None => Err(CheckError {
                code: "pending".to_owned(),
                message: "the first request for the token is under way".to_owned(),
            }),
        };
        CheckReport { identity: &self.identity, resource: &self.resource, result }
    }
}

impl fmt::Debug for ReadinessCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, resource, .. } = self;
        f.debug_struct("ReadinessCheck")
            .field("identity", identity)
            .field("resource", resource)
            .finish_non_exhaustive()
    }
}

fn panicked() -> CheckError {
    Error::new(ErrorKind::Service, "local_error", "the check ended with an internal error").into()
}

/// The end of a check, also by a panic.
struct CheckEnd {
    check: Arc<ReadinessCheck>,
    clock: SharedClock,
    result: Result<SystemTime, CheckError>,
}

impl Drop for CheckEnd {
    fn drop(&mut self) {
        let last = Some((self.clock.steady_now(), self.result.clone()));
        self.check.state.send_modify(|state| *state = CheckState { is_running: false, last });
    }
}

/// Runs all checks. Those that take long continue, and their last result counts.
pub(crate) async fn run_all(checks: &[Arc<ReadinessCheck>], clock: &SharedClock) {
    for check in checks {
        check.start(clock);
    }
    let ended = async {
        for check in checks {
            check.ended().await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = clock.sleep(RESPONSE_TIME) => {}
    }
}

/// Returns the results of checks.
pub(crate) fn reports(checks: &[Arc<ReadinessCheck>]) -> Vec<CheckReport<'_>> {
    checks.iter().map(|check| check.report()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use symbolon_types::ManualClock;

    use super::*;

    fn code(check: &ReadinessCheck) -> Option<String> {
        check.report().result.err().map(|error| error.code)
    }

    // Whoever polls the endpoint causes one request in five seconds at most.
    #[tokio::test]
    async fn failure_is_reported_for_a_while() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let check = ReadinessCheck::new("system", "https://x.example", move || {
            let run = count.fetch_add(1, Ordering::SeqCst);
            let error = Error::new(ErrorKind::Network, "timeout", "it failed");
            Box::pin(async move { if run == 0 { Err(error) } else { Ok(SystemTime::UNIX_EPOCH) } })
        });
        let checks = [Arc::clone(&check)];
        assert_eq!(code(&check).as_deref(), Some("pending"));
        for _ in 0..3 {
            run_all(&checks, &clock).await;
            assert_eq!((code(&check).as_deref(), runs.load(Ordering::SeqCst)), (Some("timeout"), 1));
        }
        manual_clock.advance(FAILURE_TIME);
        run_all(&checks, &clock).await;
        assert_eq!((code(&check), runs.load(Ordering::SeqCst)), (None, 2));
        run_all(&checks, &clock).await;
        assert_eq!((code(&check), runs.load(Ordering::SeqCst)), (None, 3), "a success is checked again");
    }

    #[tokio::test]
    async fn slow_check_runs_once() {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let check = ReadinessCheck::new("system", "https://x.example", move || {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::pending())
        });
        let checks = [Arc::clone(&check)];
        for _ in 0..2 {
            let advance = async {
                while manual_clock.sleepers() == 0 {
                    tokio::task::yield_now().await;
                }
                manual_clock.advance(RESPONSE_TIME);
            };
            tokio::join!(run_all(&checks, &clock), advance);
        }
        assert_eq!((code(&check).as_deref(), runs.load(Ordering::SeqCst)), (Some("pending"), 1));
    }

    #[tokio::test]
    async fn panic_ends_a_check() {
        let clock = SharedClock::system();
        let check =
            ReadinessCheck::new("system", "https://x.example", || Box::pin(async { panic!("a bug") }));
        run_all(&[Arc::clone(&check)], &clock).await;
        assert_eq!(code(&check).as_deref(), Some("local_error"));
    }
}
