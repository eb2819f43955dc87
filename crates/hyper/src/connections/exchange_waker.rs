//! Wake-ups of an exchange that its own task causes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The polls of one call that follow wake-ups of the call itself. More would delay other tasks.
const MAX_POLLS: usize = 4;

/// The waker of a connection and of the exchange on it, which one task polls together.
///
/// The two wake each other while they are polled, for example when the connection has read a part
/// of the response. Forwarded to the task, such a wake-up would schedule it once more, and wake
/// another thread for it.
#[derive(Debug)]
pub(super) struct ExchangeWaker {
    state: Arc<WakerState>,
    waker: Waker,
}

#[derive(Debug)]
struct WakerState {
    task: Mutex<Waker>,
    is_polling: AtomicBool,
    is_woken: AtomicBool,
}

impl Wake for WakerState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_polling.load(Ordering::SeqCst) {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

impl ExchangeWaker {
    pub(super) fn new() -> Self {
        let state = Arc::new(WakerState {
            task: Mutex::new(Waker::noop().clone()),
            is_polling: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
        });
        Self { waker: Waker::from(Arc::clone(&state)), state }
    }

    /// Polls, and polls again after a wake-up that came meanwhile.
    pub(super) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let state = &self.state;
        state.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
        for _ in 0..MAX_POLLS {
            // Not a plain store: the poll must see what an earlier wake-up announced.
            state.is_woken.swap(false, Ordering::SeqCst);
            state.is_polling.store(true, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            state.is_polling.store(false, Ordering::SeqCst);
            if polled.is_ready() || !state.is_woken.load(Ordering::SeqCst) {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Returns the result, the number of polls and the number of wake-ups of the task.
    fn polled(ready_at: usize, wakes_until: usize) -> (Poll<()>, usize, usize) {
        let task = Arc::new(CountingWaker::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;
        let polled = ExchangeWaker::new().poll(&mut Context::from_waker(&waker), |context| {
            polls += 1;
            if polls <= wakes_until {
                context.waker().wake_by_ref();
            }
            if polls == ready_at { Poll::Ready(()) } else { Poll::Pending }
        });
        (polled, polls, task.0.load(Ordering::SeqCst))
    }

    #[test]
    fn own_wake_ups_do_not_reach_the_task() {
        for (ready_at, wakes_until, expected) in [
            (1, 1, (Poll::Ready(()), 1, 0)),
            (3, 9, (Poll::Ready(()), 3, 0)),
            (9, 0, (Poll::Pending, 1, 0)),
            (9, 2, (Poll::Pending, 3, 0)),
            (9, 9, (Poll::Pending, 4, 1)),
        ] {
            assert_eq!(polled(ready_at, wakes_until), expected, "{ready_at} {wakes_until}");
        }
    }

    #[test]
    fn later_wake_up_reaches_the_last_task() {
        let exchange = ExchangeWaker::new();
        let tasks = [Arc::new(CountingWaker::default()), Arc::new(CountingWaker::default())];
        let mut inner = None;
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            let polled: Poll<()> = exchange.poll(&mut Context::from_waker(&waker), |context| {
                inner = Some(context.waker().clone());
                Poll::Pending
            });
            assert!(polled.is_pending());
        }
        inner.unwrap().wake();
        assert_eq!(tasks.map(|task| task.0.load(Ordering::SeqCst)), [0, 1]);
    }
}
