//! Client identities that change over time.

use std::fmt;

use tokio::sync::watch;

use crate::ClientIdentity;

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
pub struct IdentityCell(watch::Sender<ClientIdentity>);

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
        Self(watch::Sender::new(identity))
    }

    /// Returns the present identity.
    #[must_use]
    pub fn get(&self) -> ClientIdentity {
        self.0.borrow().clone()
    }

    /// Replaces the identity. An equal one is no change for watches.
    pub fn replace(&self, identity: ClientIdentity) {
        self.0.send_if_modified(|current| {
            let is_other = *current != identity;
            *current = identity;
            is_other
        });
    }

    /// Watches the identity.
    #[must_use]
    pub fn watch(&self) -> CellWatch {
        CellWatch { receiver: self.0.subscribe(), cell: self.clone() }
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

crate::debug_fields!(IdentityCell |this| identity: this.get());
crate::debug_fields!(CellWatch: cell);
