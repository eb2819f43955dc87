//! Slots for connections. A connection without an authenticated request lasts for a second, and
//! holds no slot that an authenticated client needs.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Version;
use symbolon_types::{SharedClock, SteadyTime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::descriptors::descriptor_limit;

/// Maximum number of connections without an authenticated request.
const MAX_NEWCOMERS: usize = 256;
/// Maximum number of connections that are closing and have given their slot to another.
const MAX_CLOSING: usize = 256;
/// Time for the head of a connection's first authenticated request, which a client has ready when
/// it connects.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The slots for the connections of one server.
pub(crate) struct ConnectionLimits {
    newcomers: SlotPool,
    authenticated: SlotPool,
    closing: Arc<Semaphore>,
    /// Maximum time between the requests of an authenticated connection.
    idle_time: Duration,
    clock: SharedClock,
}

impl ConnectionLimits {
    /// Uses half of the file descriptors; requests of the process itself need the other half.
    /// Closing connections, which have no such requests, use descriptors of that other half.
    pub(crate) fn new(max_connections: usize, idle_time: Duration, clock: SharedClock) -> Arc<Self> {
        let descriptors = descriptor_limit();
        let newcomers = (descriptors / 8).clamp(4, MAX_NEWCOMERS);
        let authenticated =
            (descriptors / 2 - newcomers.min(descriptors / 2)).clamp(4, max_connections.max(4));
        Arc::new(Self {
            newcomers: SlotPool::new(newcomers),
            authenticated: SlotPool::new(authenticated),
            closing: Arc::new(Semaphore::new(MAX_CLOSING.min(descriptors / 4))),
            idle_time,
            clock,
        })
    }

    /// Waits for the slot of a new connection. If all slots are taken, the oldest connection
    /// without a request is closed.
    pub(crate) async fn admit(self: &Arc<Self>) -> ConnectionSlot {
        let permit = self.newcomers.acquire().await;
        ConnectionSlot {
            limits: Arc::clone(self),
            permit: Mutex::new(permit),
            admitted: self.clock.steady_now(),
            activity: watch::Sender::new(Activity { standing: Standing::Newcomer, is_resting: true }),
            pending: AtomicUsize::new(0),
        }
    }

    /// Closes connections without a request until the guard is dropped: the process has no file
    /// descriptor left.
    pub(crate) fn reclaim(&self) -> [WaitGuard<'_>; 2] {
        [self.newcomers.wait(), self.authenticated.wait()]
    }
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
    admitted: SteadyTime,
    activity: watch::Sender<Activity>,
    /// The number of requests that are not answered completely.
    pending: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Activity {
    standing: Standing,
    /// True while the time without a request counts.
    is_resting: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No request was authenticated.
    Newcomer,
    /// An authenticated request waits for a slot.
    Waiting,
    Authenticated,
}

/// The reason of a connection to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It had no authenticated request in time.
    Unauthenticated,
    /// It was without a request for too long, or another connection needs its slot.
    Idle,
}

/// The server has no slot for another authenticated connection, and too many wait for one already.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Busy;

impl ConnectionSlot {
    /// Marks a request as pending until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> PendingRequest {
        self.pending.fetch_add(1, Ordering::SeqCst);
        self.activity.send_if_modified(|activity| std::mem::take(&mut activity.is_resting));
        PendingRequest { slot: Arc::clone(self), version }
    }

    /// Starts to count the time without a request, unless one is pending.
    pub(crate) fn rest(&self) {
        self.activity.send_if_modified(|activity| {
            let starts = !activity.is_resting && self.is_idle();
            activity.is_resting |= starts;
            starts
        });
    }

    /// Moves the connection to a slot that only authenticated connections get, at its first
    /// authenticated request. Fails if too many others wait, because requests that need no
    /// authentication need the remaining slots.
    pub(crate) async fn authenticate(&self) -> Result<(), Busy> {
        if self.activity.borrow().standing == Standing::Authenticated {
            return Ok(());
        }
        let pool = &self.limits.authenticated;
        if pool.waiting.load(Ordering::SeqCst) >= self.limits.newcomers.size * 3 / 4 {
            return Err(Busy);
        }
        self.set_standing(Standing::Waiting);
        let permit = pool.acquire().await;
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        self.set_standing(Standing::Authenticated);
        Ok(())
    }

    fn set_standing(&self, standing: Standing) {
        self.activity.send_modify(|activity| activity.standing = standing);
    }

    /// Returns whether the connection may stay open after this response: it is authenticated, and
    /// no other one needs its slot.
    pub(crate) fn may_stay(&self) -> bool {
        self.activity.borrow().standing == Standing::Authenticated && !self.limits.authenticated.is_wanted()
    }

    /// Gives the slot of an authenticated connection to another, while this one waits for its
    /// client to read the last response. Keeps it if too many do.
    pub(crate) fn release(&self) {
        if self.activity.borrow().standing != Standing::Authenticated {
            return;
        }
        if let Ok(closing) = Arc::clone(&self.limits.closing).try_acquire_owned() {
            *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(closing);
        }
    }

    /// Returns true if no request is pending.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.load(Ordering::SeqCst) == 0
    }

    /// Returns when the connection has to end.
    pub(crate) async fn expired(&self) -> Expiry {
        let limits = &self.limits;
        let mut changes = self.activity.subscribe();
        loop {
            let Activity { standing, is_resting } = *changes.borrow_and_update();
            match standing {
                Standing::Newcomer => {
                    let waited = limits.clock.steady_now().since(self.admitted);
                    tokio::select! {
                        biased;
                        // The sender lives as long as `self`.
                        _changed = changes.changed() => {}
                        () = limits.clock.sleep(FIRST_REQUEST_TIMEOUT.saturating_sub(waited)) => {
                            return Expiry::Unauthenticated;
                        }
                        // Only the oldest is closed, not the one that just arrived.
                        () = limits.newcomers.reclaimed(false), if is_resting => {
                            return Expiry::Unauthenticated;
                        }
                    }
                }
                Standing::Authenticated if is_resting => tokio::select! {
                    biased;
                    _changed = changes.changed() => {}
                    () = limits.clock.sleep(limits.idle_time) => return Expiry::Idle,
                    () = limits.authenticated.reclaimed(true) => return Expiry::Idle,
                },
                _ => {
                    let _changed = changes.changed().await;
                }
            }
        }
    }
}

/// A request until it is answered completely, also by a panic or a disconnect.
pub(crate) struct PendingRequest {
    slot: Arc<ConnectionSlot>,
    version: Version,
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.slot.pending.fetch_sub(1, Ordering::SeqCst);
        // Over HTTP/1.1, the connection rests when no other request follows soon.
        if self.version == Version::HTTP_2 {
            self.slot.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use symbolon_types::ManualClock;

    use super::*;

    /// Returns true if a connection ends by its idle time, which is a minute.
    async fn is_ended(slot: &ConnectionSlot, manual_clock: &ManualClock) -> bool {
        let mut expired = pin!(slot.expired());
        let mut is_ended = false;
        for _ in 0..3 {
            tokio::select! {
                biased;
                expiry = &mut expired => {
                    is_ended = expiry == Expiry::Idle;
                    break;
                }
                () = tokio::task::yield_now() => manual_clock.advance(Duration::from_secs(60)),
            }
        }
        is_ended
    }

    #[tokio::test]
    async fn closing_connections_leave_their_slots() {
        let limits = ConnectionLimits::new(4, Duration::from_secs(60), SharedClock::system());
        let count = limits.closing.available_permits();
        let newcomer = limits.admit().await;
        newcomer.release();
        assert_eq!(limits.closing.available_permits(), count, "it has no slot that others need");
        let mut kept = Vec::new();
        for number in 0..count + limits.authenticated.size {
            assert_eq!(
                limits.authenticated.slots.available_permits(),
                limits.authenticated.size - number.saturating_sub(count)
            );
            let slot = limits.admit().await;
            slot.authenticate().await.unwrap();
            slot.release();
            kept.push(slot);
        }
        assert_eq!(limits.authenticated.slots.available_permits(), 0);
        kept.clear();
        assert_eq!(limits.closing.available_permits(), count);
        assert_eq!(limits.authenticated.slots.available_permits(), limits.authenticated.size);
    }

    #[tokio::test]
    async fn idle_time_counts_while_a_connection_rests() {
        let manual_clock = ManualClock::new();
        let limits = ConnectionLimits::new(4, Duration::from_secs(60), SharedClock::from(&manual_clock));
        for (version, rests_by_itself) in [(Version::HTTP_11, false), (Version::HTTP_2, true)] {
            let slot = Arc::new(limits.admit().await);
            slot.authenticate().await.unwrap();
            let [first, second] = [slot.begin(version), slot.begin(version)];
            drop(first);
            slot.rest();
            assert!(!is_ended(&slot, &manual_clock).await, "a request is pending");
            drop(second);
            assert_eq!(is_ended(&slot, &manual_clock).await, rests_by_itself, "{version:?}");
            slot.rest();
            assert!(is_ended(&slot, &manual_clock).await);
        }
    }
}
