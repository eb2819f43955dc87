//! Time, passed in.

mod manual;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use manual::ManualClock;

/// What time it is, and how to wait.
///
/// Wall time, because a token's lifetime goes on while a machine is suspended. Implement it for a
/// runtime other than Tokio; use [`SystemClock`] otherwise, and [`ManualClock`] in tests.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> SystemTime;

    /// Waits that long. Dropping the future ends the wait.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// A handle on any [`Clock`]; clones are cheap and show the same time.
#[derive(Clone, Debug)]
pub struct SharedClock(Arc<dyn ErasedClock>);

impl SharedClock {
    /// Shares a clock.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemClock::new())
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.now()
    }

    /// Waits that long. Dropping the future ends the wait.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self::system()
    }
}

/// The twin of [`Clock`] that can stand behind a pointer.
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

/// The machine's own clock. It waits on the current Tokio runtime's timer, or, outside of one, on
/// a thread of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The machine's own clock.
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
        } else {
            let (awake, woken) = tokio::sync::oneshot::channel::<()>();
            std::thread::spawn(move || {
                std::thread::sleep(duration);
                drop(awake);
            });
            // Dropping the sender is the signal; the error says so.
            let _dropped = woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_sleeps_without_a_runtime() {
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
                std::task::Poll::Ready(output) => return output,
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    }
}
