//! What a credential presented last.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::auth::ClientAuth;
use super::auth_future::AuthFuture;

/// What a credential presented last, lent to the look-ups that follow.
///
/// Every look-up asks the credential first, from whatever thread it comes. A value that is lent
/// instead of cloned is not written to, not even its count of references, so that threads do not
/// wait for each other's caches.
///
/// ```
/// use symbolon_token::{ClientAuth, Partition, CachedAuth, TokenEndpoint};
///
/// let endpoint = TokenEndpoint::parse("https://login.example/token")?;
/// let presented = CachedAuth::default();
/// assert!(presented.lend(|_| true).is_none());
/// presented.replace(ClientAuth::new("client", endpoint, Partition::new("client at login.example")));
/// assert!(presented.lend(|auth| auth.client_id() == "client").is_some());
/// # Ok::<(), symbolon_token::Error>(())
/// ```
#[derive(Default)]
pub struct CachedAuth(ArcSwapOption<ClientAuth>);

impl CachedAuth {
    /// What was presented last, if it still fits.
    pub fn lend(&self, fits: impl FnOnce(&ClientAuth) -> bool) -> Option<AuthFuture<'static>> {
        let last = self.0.load();
        last.as_deref().is_some_and(fits).then(|| AuthFuture::lent(Lent(last)))
    }

    /// This is presented from now on.
    pub fn replace(&self, auth: ClientAuth) {
        self.0.store(Some(Arc::new(auth)));
    }

    /// This is presented from now on, if nothing was before.
    pub(crate) fn fill(&self, auth: ClientAuth) {
        self.0.compare_and_swap(&None::<Arc<ClientAuth>>, Some(Arc::new(auth)));
    }
}

impl fmt::Debug for CachedAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedAuth").field(&self.0.load().as_deref()).finish()
    }
}

/// Something that is lent; what was replaced meanwhile lives as long as somebody holds it.
pub(super) struct Lent(Guard<Option<Arc<ClientAuth>>>);

impl Lent {
    /// Always something: nothing is not lent.
    pub(super) fn get(&self) -> Option<&ClientAuth> {
        self.0.deref().as_deref()
    }
}
