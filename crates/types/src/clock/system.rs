//! The clock of this machine.

use std::future::poll_fn;
use std::panic::catch_unwind;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::jump_detector::JumpDetector;
use super::{Clock, SharedClock, SteadyTime};

/// The system clock. It waits on the timer of the current Tokio runtime, or else, also in a runtime
/// without a timer, on a thread.
///
/// On Linux, the steady clock is `CLOCK_BOOTTIME`, which counts while the machine is suspended.
/// Elsewhere it is that of [`std::time::Instant`]. Where the wall clock jumps forward, the steady
/// clock follows, so that a pause counts which it has missed.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

static STEADY: JumpDetector = JumpDetector::new();

impl SystemClock {
    /// Returns the system clock.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl SharedClock {
    /// Returns the system clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemClock::new())
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn steady_now(&self) -> SteadyTime {
        STEADY.now(raw_nanos, || self.now())
    }

    fn timer_now(&self) -> SteadyTime {
        SteadyTime::after_start(Duration::from_nanos(raw_nanos()))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that really sleeps")]
    async fn sleep(&self, duration: Duration) {
        // Tokio panics in a runtime without a timer.
        if tokio::runtime::Handle::try_current().is_ok()
            && let Ok(sleep) = catch_unwind(|| tokio::time::sleep(duration))
        {
            return sleep.await;
        }
        let start = std::time::Instant::now();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let timer = std::thread::Builder::new().name("symbolon-timer".into()).spawn(move || {
            std::thread::sleep(duration);
            drop(sender);
        });
        if timer.is_ok() {
            // Dropping the sender is the signal, which arrives as an error.
            let _dropped = receiver.await;
            return;
        }
        // No thread can be started, so the future is polled until the time has passed.
        poll_fn(|context| {
            let left = duration.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Poll::Ready(());
            }
            std::thread::sleep(left.min(POLL_INTERVAL));
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// The interval of a timer that has no thread.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(any(target_os = "linux", target_os = "android"))]
fn raw_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the real steady clock")]
fn raw_nanos() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Context;

    use super::*;

    #[test]
    fn system_clock_needs_no_runtime() {
        let clock = SharedClock::system();
        let before = clock.now();
        futures_util::FutureExt::now_or_never(clock.sleep(Duration::ZERO));
        block_on(clock.sleep(Duration::from_millis(5)));
        assert!(clock.now().duration_since(before).is_ok_and(|took| took >= Duration::from_millis(5)));
    }

    #[test]
    fn runtime_without_timer_can_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(SharedClock::system().sleep(Duration::from_millis(5)));
    }

    #[test]
    fn steady_clock_counts_a_sleep() {
        let clock = SharedClock::system();
        let before = clock.steady_now();
        block_on(clock.sleep(Duration::from_millis(20)));
        let took = clock.steady_now().since(before);
        assert!(took >= Duration::from_millis(19) && took < Duration::from_secs(600), "{took:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn steady_clock_counts_since_boot() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((0.0..600.0).contains(&(raw_nanos() as f64 / 1e9 - uptime)));
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
