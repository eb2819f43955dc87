//! The observation of new TLS connections.

use symbolon_types::{Context, Event, HandshakeEvent, SharedClock, SharedObserver, SteadyTime, TlsSession};

/// The observer of new TLS connections, with the clock of their durations.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionObserver {
    observer: SharedObserver,
    clock: SharedClock,
}

/// A TLS connection that is being opened. Dropped before its end, it reports that the request was
/// given up.
pub(crate) struct OpeningConnection {
    observer: ConnectionObserver,
    has_identity: bool,
    started: SteadyTime,
    has_ended: bool,
}

impl ConnectionObserver {
    pub(crate) fn of(context: &Context) -> Self {
        Self { observer: context.observer().clone(), clock: context.clock().clone() }
    }

    pub(crate) fn start(&self, has_identity: bool) -> OpeningConnection {
        let started = self.clock.steady_now();
        OpeningConnection { observer: self.clone(), has_identity, started, has_ended: false }
    }
}

impl OpeningConnection {
    pub(crate) fn end(mut self, result: Result<TlsSession, &'static str>) {
        self.has_ended = true;
        self.report(result);
    }

    fn report(&self, result: Result<TlsSession, &'static str>) {
        let ConnectionObserver { observer, clock } = &self.observer;
        observer.emit(|| {
            let duration = clock.steady_now().since(self.started);
            Event::Handshake(HandshakeEvent::new(self.has_identity, result, duration))
        });
    }
}

impl Drop for OpeningConnection {
    fn drop(&mut self) {
        if !self.has_ended {
            self.report(Err("cancelled"));
        }
    }
}
