//! Client identities that change over time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::{ClientIdentity, SharedClock, SteadyTime, catch_panic};

/// A source of the client identity that a client presents, which is replaced from time to time: the
/// binding of a managed identity, or the certificate of a confidential client in an
/// [`IdentityCell`].
pub trait IdentityWatch: Clone + fmt::Debug + Send + Sync + 'static {
    /// Returns the present identity; `None` if there is none, such as before the first is issued
    /// and after the server refused it.
    fn current_identity(&self) -> Option<ClientIdentity>;

    /// Waits for the next change and returns the new state. Changes in quick succession may be
    /// reported as one. Without further changes it never completes.
    fn identity_changed(&mut self) -> impl Future<Output = Option<ClientIdentity>> + Send;
}

/// A client identity that can be replaced, such as a certificate that is read from a file again.
/// Clones share it.
///
/// ```
/// # use symbolon_types::{ClientIdentity, IdentityCell, IdentityWatch};
/// # fn example(old: ClientIdentity, new: ClientIdentity) {
/// let cell = IdentityCell::new(old);
/// let watch = cell.watch();
/// cell.replace(new.clone());
/// assert_eq!(watch.current_identity(), Some(new));
/// # }
/// ```
#[derive(Clone)]
pub struct IdentityCell(Arc<CellParts>);

struct CellParts {
    current: watch::Sender<ClientIdentity>,
    reload: Option<Reload>,
}

/// The time after which a load that has not ended keeps others from starting: a file system that
/// does not respond would block a thread for each.
const LONGEST_LOAD: Duration = Duration::from_secs(2);

/// The source from which a cell loads its identity again.
struct Reload {
    load: Box<dyn Fn() -> Option<ClientIdentity> + Send + Sync>,
    interval: Duration,
    clock: SharedClock,
    due: Mutex<SteadyTime>,
    /// The loads under way, by the times when they started.
    running: Mutex<Vec<SteadyTime>>,
}

/// The [`IdentityWatch`] of an [`IdentityCell`].
#[derive(Clone)]
pub struct CellWatch {
    receiver: watch::Receiver<ClientIdentity>,
    /// Keeps the channel open.
    cell: IdentityCell,
}

impl IdentityCell {
    /// Creates a cell with its first identity.
    #[must_use]
    pub fn new(identity: ClientIdentity) -> Self {
        Self(Arc::new(CellParts { current: watch::Sender::new(identity), reload: None }))
    }

    /// Creates a cell that loads its identity again, when it is used and the last load is older
    /// than `interval`: in the background where there is a Tokio runtime, otherwise at once.
    ///
    /// `load` may block. It returns `None` if there is no other identity. While a load has not
    /// ended for two seconds, no other one starts, and the present identity stays.
    #[must_use]
    pub fn reloading(
        identity: ClientIdentity,
        interval: Duration,
        clock: SharedClock,
        load: impl Fn() -> Option<ClientIdentity> + Send + Sync + 'static,
    ) -> Self {
        let due = Mutex::new(clock.steady_now().plus(interval));
        let reload = Reload { load: Box::new(load), interval, clock, due, running: Mutex::default() };
        Self(Arc::new(CellParts { current: watch::Sender::new(identity), reload: Some(reload) }))
    }

    /// Returns the present identity.
    #[must_use]
    pub fn get(&self) -> ClientIdentity {
        if self.0.reload.as_ref().is_some_and(Reload::is_due) {
            let cell = self.clone();
            match Handle::try_current() {
                // Tokio panics if no thread can be started; the next load is due after the
                // interval.
                Ok(runtime) => drop(catch_panic("Tokio", || runtime.spawn_blocking(move || cell.reload()))),
                Err(_) => cell.reload(),
            }
        }
        self.peek()
    }

    /// Returns true if the cell [loads](Self::reloading) its identity again.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.0.reload.is_some()
    }

    /// Loads the identity again now, if the cell has a source. It may block.
    pub fn reload(&self) {
        let Some(reload) = &self.0.reload else { return };
        let Some(started) = reload.start() else { return };
        let loaded = catch_panic("the source of the client identity", &reload.load);
        reload.end(started);
        if let Ok(Some(identity)) = loaded {
            self.replace(identity);
        }
    }

    /// Replaces the identity. An equal one is no change for watches.
    pub fn replace(&self, identity: ClientIdentity) {
        self.0.current.send_if_modified(|current| {
            let is_other = *current != identity;
            *current = identity;
            is_other
        });
    }

    /// Watches the identity. A cell that loads its identity again does so when it is used, and the
    /// watch reports the change then.
    #[must_use]
    pub fn watch(&self) -> CellWatch {
        CellWatch { receiver: self.0.current.subscribe(), cell: self.clone() }
    }

    /// Returns the present identity without loading it again.
    fn peek(&self) -> ClientIdentity {
        self.0.current.borrow().clone()
    }
}

impl Reload {
    /// Returns true for one caller in each interval.
    fn is_due(&self) -> bool {
        let now = self.clock.steady_now();
        let mut due = self.due();
        let is_due = *due <= now;
        if is_due {
            *due = now.plus(self.interval);
        }
        is_due
    }

    /// Begins a load, unless an earlier one does not end.
    fn start(&self) -> Option<SteadyTime> {
        let now = self.clock.steady_now();
        *self.due() = now.plus(self.interval);
        let mut running = self.running();
        if running.iter().any(|started| now.since(*started) >= LONGEST_LOAD) {
            return None;
        }
        running.push(now);
        Some(now)
    }

    fn end(&self, started: SteadyTime) {
        let mut running = self.running();
        if let Some(position) = running.iter().position(|other| *other == started) {
            running.swap_remove(position);
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<SteadyTime>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, SteadyTime> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdentityWatch for CellWatch {
    fn current_identity(&self) -> Option<ClientIdentity> {
        Some(self.cell.get())
    }

    async fn identity_changed(&mut self) -> Option<ClientIdentity> {
        // Cannot fail: this watch holds the sender.
        let _open = self.receiver.changed().await;
        Some(self.receiver.borrow_and_update().clone())
    }
}

crate::debug_fields!(IdentityCell |this| identity: this.peek(), is_reloading: this.is_reloading());
crate::debug_fields!(CellWatch: cell);
