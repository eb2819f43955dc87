//! What one handshake showed of our certificate.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

thread_local! {
    /// The handshake that this thread is polling.
    ///
    /// rustls resumes a session only under the very resolver that it was made with, so all
    /// connections of an identity share one resolver, and it cannot tell them apart; but it is
    /// called within the poll of its handshake.
    static UNDER_WAY: RefCell<Option<Arc<Presentation>>> = const { RefCell::new(None) };
}

/// What one connection showed of our certificate.
#[derive(Debug, Default)]
pub(crate) struct Presentation {
    presented: AtomicBool,
    offered_session: AtomicBool,
}

/// The server of the handshake under way asked for a certificate.
pub(crate) fn server_asked() {
    UNDER_WAY.with_borrow(|under_way| {
        if let Some(presentation) = under_way {
            presentation.set_presented();
        }
    });
}

impl Presentation {
    /// Drives a handshake, noting whether the server asks.
    pub(crate) async fn observe<F: Future>(self: &Arc<Self>, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        poll_fn(|context| {
            // A key may block on a runtime of its own, in which other handshakes are polled.
            let outer = UNDER_WAY.replace(Some(Arc::clone(self)));
            let polled = handshake.as_mut().poll(context);
            UNDER_WAY.set(outer);
            polled
        })
        .await
    }

    /// The certificate was presented: now, or by the session that was resumed.
    pub(crate) fn set_presented(&self) {
        self.presented.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_presented(&self) -> bool {
        self.presented.load(Ordering::Relaxed)
    }

    /// Whether the server can have known the certificate, be it from an offered session.
    pub(crate) fn is_known_to_server(&self) -> bool {
        self.is_presented() || self.offered_session.load(Ordering::Relaxed)
    }

    fn note_offer<T>(&self, session: Option<T>) -> Option<T> {
        if session.is_some() {
            self.offered_session.store(true, Ordering::Relaxed);
        }
        session
    }
}

/// The sessions of an identity, as one of its connections sees them: it reads all, and writes only
/// once it has presented the certificate. So every stored session counts as presenting it.
#[derive(Debug)]
pub(crate) struct PresentedSessions {
    pub(crate) shared: Arc<ClientSessionMemoryCache>,
    pub(crate) presentation: Arc<Presentation>,
}

impl ClientSessionStore for PresentedSessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.shared.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.shared.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        if self.presentation.is_presented() {
            self.shared.set_tls12_session(server, session);
        }
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.presentation.note_offer(self.shared.tls12_session(server))
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.shared.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.presentation.is_presented() {
            self.shared.insert_tls13_ticket(server, ticket);
        }
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.presentation.note_offer(self.shared.take_tls13_ticket(server))
    }
}
