//! How to learn that a binding changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Minter;
use crate::{Binding, ManagedIdentityId};

/// The binding of an identity, as it changes: for whoever keeps something that was made with the
/// certificate, such as connections.
///
/// ```no_run
/// # async fn example(minter: symbolon_binding::Minter, id: symbolon_binding::ManagedIdentityId) {
/// let mut watch = minter.watch(&id);
/// loop {
///     match watch.changed().await {
///         Some(binding) => println!("from now on: {}", binding.identity().thumbprint()),
///         None => println!("the certificate was refused; the next request mints another"),
///     }
/// }
/// # }
/// ```
///
/// It renews nothing: a binding is renewed when somebody asks for it. It keeps the minter alive.
#[derive(Clone)]
pub struct BindingWatch {
    minter: Minter,
    receiver: watch::Receiver<Option<Binding>>,
}

impl BindingWatch {
    pub(super) fn new(minter: Minter, receiver: watch::Receiver<Option<Binding>>) -> Self {
        Self { minter, receiver }
    }

    /// What there is now; `None` before the first mint, and after a refusal.
    #[must_use]
    pub fn current(&self) -> Option<Binding> {
        self.receiver.borrow().clone()
    }

    /// Waits for the next change, and tells what there is then. Of changes that follow each other
    /// closely, only the last may be seen.
    pub async fn changed(&mut self) -> Option<Binding> {
        // The sender lives in the minter, and that is here.
        let _alive = self.receiver.changed().await;
        self.receiver.borrow_and_update().clone()
    }
}

impl fmt::Debug for BindingWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingWatch").field("minter", &self.minter).finish_non_exhaustive()
    }
}

/// Who is told about which identity. As many as are watched.
#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<ManagedIdentityId, watch::Sender<Option<Binding>>>>);

impl Watches {
    /// Tells about this identity from now on; `now` says what there is.
    pub(super) fn of(
        &self,
        id: &ManagedIdentityId,
        now: impl FnOnce() -> Option<Binding>,
    ) -> watch::Receiver<Option<Binding>> {
        let mut senders = self.senders();
        senders.retain(|_, sender| sender.receiver_count() > 0);
        senders.entry(id.clone()).or_insert_with(|| watch::Sender::new(now())).subscribe()
    }

    pub(super) fn tell(&self, id: &ManagedIdentityId, binding: Option<&Binding>) {
        if let Some(sender) = self.senders().get(id) {
            sender.send_replace(binding.cloned());
        }
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<ManagedIdentityId, watch::Sender<Option<Binding>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
