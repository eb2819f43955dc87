//! Stream of the bindings of an identity.

use symbolon_types::{ClientIdentity, IdentityWatch};
use tokio::sync::watch;

use crate::{Binding, ManagedIdentityId, Minter};

/// Receiver of the changes of an identity's binding, for components that keep something made with
/// the certificate, such as connections.
///
/// ```no_run
/// # async fn example(minter: symbolon_binding::Minter, id: symbolon_binding::ManagedIdentityId) {
/// let mut watch = minter.watch(&id);
/// loop {
///     match watch.changed().await {
///         Some(binding) => println!("new certificate: {}", binding.identity().thumbprint()),
///         None => println!("the certificate was refused; the next request mints another"),
///     }
/// }
/// # }
/// ```
///
/// `symbolon-rustls` makes TLS configurations from it, which follow the binding.
///
/// A watch does not renew the binding; a request for the binding does. It keeps the minter alive.
#[derive(Clone)]
pub struct BindingWatch {
    minter: Minter,
    receiver: watch::Receiver<Option<Binding>>,
}

impl BindingWatch {
    /// Returns the present binding; `None` before the first mint and after a refusal.
    #[must_use]
    pub fn current(&self) -> Option<Binding> {
        self.receiver.borrow().clone()
    }

    /// Waits for the next change and returns the new state. Changes in quick succession may be
    /// reported as one.
    pub async fn changed(&mut self) -> Option<Binding> {
        // Cannot fail: the sender is part of the minter, which this watch keeps alive.
        let _alive = self.receiver.changed().await;
        self.receiver.borrow_and_update().clone()
    }
}

impl IdentityWatch for BindingWatch {
    fn current_identity(&self) -> Option<ClientIdentity> {
        self.current().map(|binding| binding.identity().clone())
    }

    async fn identity_changed(&mut self) -> Option<ClientIdentity> {
        self.changed().await.map(|binding| binding.identity().clone())
    }
}

impl Minter {
    /// Watches the binding of an identity.
    #[must_use]
    pub fn watch(&self, id: &ManagedIdentityId) -> BindingWatch {
        let receiver = self.watches().subscribe(id, || self.held(id));
        BindingWatch { minter: self.clone(), receiver }
    }
}

symbolon_types::debug_fields!(BindingWatch: minter);
