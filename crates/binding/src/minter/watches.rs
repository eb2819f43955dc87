//! Senders of binding changes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Binding, ManagedIdentityId};

/// Sender of changes for each watched identity.
#[derive(Default)]
pub(crate) struct WatchRegistry(Mutex<HashMap<ManagedIdentityId, watch::Sender<Option<Binding>>>>);

impl WatchRegistry {
    /// Subscribes to the changes of an identity; `current` returns its present binding. Senders
    /// without receivers are removed.
    pub(crate) fn subscribe(
        &self,
        id: &ManagedIdentityId,
        current: impl FnOnce() -> Option<Binding>,
    ) -> watch::Receiver<Option<Binding>> {
        let mut senders = self.senders();
        senders.retain(|_, sender| sender.receiver_count() > 0);
        senders.entry(id.clone()).or_insert_with(|| watch::Sender::new(current())).subscribe()
    }

    pub(super) fn send(&self, id: &ManagedIdentityId, binding: Option<&Binding>) {
        if let Some(sender) = self.senders().get(id) {
            sender.send_replace(binding.cloned());
        }
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<ManagedIdentityId, watch::Sender<Option<Binding>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
