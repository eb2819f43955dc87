//! Clocks.

mod manual;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

pub use manual::ManualClock;

/// A clock that reads the time and waits.
///
/// It reads wall time, because a token's lifetime continues while a machine is suspended. Use
/// [`SystemClock`], or [`ManualClock`] in tests; implement it for a runtime other than Tokio.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;

    /// Waits for `duration`. Dropping the future cancels the wait.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// A handle to any [`Clock`]. Clones are cheap and share the clock.
#[derive(Clone, Debug)]
pub struct SharedClock(Arc<dyn ErasedClock>);

impl SharedClock {
    /// Creates a handle.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    /// Returns the system clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemClock::new())
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.now()
    }

    /// Waits for `duration`. Dropping the future cancels the wait.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self::system()
    }
}

/// The object-safe form of [`Clock`].
trait ErasedClock: fmt::Debug + Send + Sync {
    fn now(&self) -> SystemTime;
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<C: Clock> ErasedClock for C {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Clock::sleep(self, duration))
    }
}

/// The system clock. It waits on the timer of the current Tokio runtime, or else on a thread.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// Returns the system clock.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that really sleeps")]
    async fn sleep(&self, duration: Duration) {
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::time::sleep(duration).await;
            return;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_needs_no_runtime() {
        let clock = SharedClock::system();
        let before = clock.now();
        futures_util::FutureExt::now_or_never(clock.sleep(Duration::ZERO));
        block_on(clock.sleep(Duration::from_millis(5)));
        assert!(clock.now().duration_since(before).is_ok_and(|took| took >= Duration::from_millis(5)));
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
