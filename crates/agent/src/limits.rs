//! Limits on connections. Without the secret, a connection lasts for one request that starts within
//! a second, and holds no slot that a client with the secret needs.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use symbolon::SharedClock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::rejection::Rejection;

/// Maximum number of authenticated connections, and of others.
const MAX_CONNECTIONS: usize = 256;
/// Time for the head of a connection's first request, which a client has ready when it connects.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time between the requests of an authenticated connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The slots for connections of one agent.
pub(crate) struct ConnectionLimits {
    newcomers: SlotPool,
    authenticated: SlotPool,
}

impl ConnectionLimits {
    /// Uses half of the file descriptors; requests to the host and the process need the others.
    pub(crate) fn new() -> Arc<Self> {
        let size = (descriptor_limit() / 4).clamp(4, MAX_CONNECTIONS);
        Arc::new(Self { newcomers: SlotPool::new(size), authenticated: SlotPool::new(size) })
    }

    /// Waits for the slot of a new connection. If all slots are taken, the oldest connection
    /// without a request is closed.
    pub(crate) async fn admit(self: &Arc<Self>) -> ConnectionSlot {
        let permit = self.newcomers.acquire().await;
        ConnectionSlot {
            limits: Arc::clone(self),
            permit: Mutex::new(permit),
            activity: watch::Sender::new(Activity { is_authenticated: false, is_busy: false }),
        }
    }

    /// Closes connections without a request until the guard is dropped: the process has no file
    /// descriptor left.
    pub(crate) fn reclaim(&self) -> [WaitGuard<'_>; 2] {
        [self.newcomers.wait(), self.authenticated.wait()]
    }
}

/// The maximum number of open files of this process.
fn descriptor_limit() -> usize {
    #[cfg(unix)]
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(limit).unwrap_or(usize::MAX);
    }
    usize::MAX
}

/// A number of slots. A waiting connection takes the slot of the one that has been idle longest.
struct SlotPool {
    size: usize,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    reclaimed: Notify,
}

impl SlotPool {
    fn new(size: usize) -> Self {
        Self {
            size,
            slots: Arc::new(Semaphore::new(size)),
            waiting: AtomicUsize::new(0),
            reclaimed: Notify::new(),
        }
    }

    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = self.wait();
        // The semaphore is never closed.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    fn wait(&self) -> WaitGuard<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.reclaimed.notify_one();
        WaitGuard(self)
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Returns when the calling connection has been chosen, or, if `at_once`, when any other waits.
    async fn reclaimed(&self, at_once: bool) {
        loop {
            let mut chosen = pin!(self.reclaimed.notified());
            // No waiting connection is missed between the check and the wait.
            chosen.as_mut().enable();
            if at_once && self.is_wanted() {
                return;
            }
            chosen.await;
            if self.is_wanted() {
                return;
            }
        }
    }
}

/// A guard that counts one connection that waits for a slot.
pub(crate) struct WaitGuard<'a>(&'a SlotPool);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The slot of one connection.
pub(crate) struct ConnectionSlot {
    limits: Arc<ConnectionLimits>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    activity: watch::Sender<Activity>,
}

#[derive(Clone, Copy)]
struct Activity {
    is_authenticated: bool,
    is_busy: bool,
}

impl ConnectionSlot {
    /// Marks a request as pending until the guard is dropped.
    pub(crate) fn begin(&self) -> ActivityGuard<'_> {
        self.activity.send_modify(|activity| activity.is_busy = true);
        ActivityGuard(self)
    }

    /// Moves the connection to a slot that only authenticated connections get, after its first
    /// request with the secret. Rejects the request if too many others wait, because health checks
    /// need the remaining slots.
    pub(crate) async fn authenticate(&self) -> Result<(), Rejection> {
        if self.activity.borrow().is_authenticated {
            return Ok(());
        }
        let pool = &self.limits.authenticated;
        if pool.waiting.load(Ordering::SeqCst) >= pool.size * 3 / 4 {
            let message = "The agent is busy: too many requests are waiting for a response; try again";
            let mut rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
            rejection.retry_after = Some(Duration::from_secs(1));
            return Err(rejection);
        }
        let permit = pool.acquire().await;
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        self.activity.send_modify(|activity| activity.is_authenticated = true);
        Ok(())
    }

    /// Returns whether the connection has to be closed after this response in favor of others.
    pub(crate) fn is_wanted(&self) -> bool {
        self.limits.authenticated.is_wanted()
    }

    /// Returns when the connection has been without a request for too long, or when another one
    /// needs its slot.
    pub(crate) async fn expired(&self, clock: &SharedClock) {
        let mut changes = self.activity.subscribe();
        loop {
            let Activity { is_authenticated, is_busy } = *changes.borrow_and_update();
            let (pool, timeout) = if is_authenticated {
                (&self.limits.authenticated, IDLE_TIMEOUT)
            } else {
                (&self.limits.newcomers, FIRST_REQUEST_TIMEOUT)
            };
            tokio::select! {
                biased;
                // The sender lives as long as `self`.
                _changed = changes.changed() => {}
                () = clock.sleep(timeout), if !is_busy => return,
                // Of new connections only the oldest is closed, not the one that just arrived.
                () = pool.reclaimed(is_authenticated), if !is_busy => return,
            }
        }
    }
}

/// A guard that ends a request when dropped, also after a panic or a disconnect.
pub(crate) struct ActivityGuard<'a>(&'a ConnectionSlot);

impl Drop for ActivityGuard<'_> {
    fn drop(&mut self) {
        self.0.activity.send_modify(|activity| activity.is_busy = false);
    }
}
