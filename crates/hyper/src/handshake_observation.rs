//! The observation of a new TLS connection.

use symbolon_types::{Event, HandshakeEvent, SharedClock, SharedObserver, SteadyTime, TlsSession};

use crate::classify::NewConnectionError;
use crate::tls::TlsConnection;

/// The observation of one TLS connection that is being opened. Dropped before its end, it reports
/// that the request was given up.
pub(crate) struct HandshakeObservation<'a> {
    observer: &'a SharedObserver,
    clock: &'a SharedClock,
    has_identity: bool,
    started: SteadyTime,
    has_ended: bool,
}

impl<'a> HandshakeObservation<'a> {
    pub(crate) fn start(observer: &'a SharedObserver, clock: &'a SharedClock, has_identity: bool) -> Self {
        Self { observer, clock, has_identity, started: clock.steady_now(), has_ended: false }
    }

    pub(crate) fn end(mut self, connected: &Result<TlsConnection, NewConnectionError>) {
        self.has_ended = true;
        let session = connected.as_ref().map(|open| TlsSession::new(open.version, open.is_resumed));
        self.report(session.map_err(NewConnectionError::error_type));
    }

    fn report(&self, result: Result<TlsSession, &'static str>) {
        self.observer.emit(|| {
            let duration = self.clock.steady_now().since(self.started);
            Event::Handshake(HandshakeEvent::new(self.has_identity, result, duration))
        });
    }
}

impl Drop for HandshakeObservation<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.report(Err("cancelled"));
        }
    }
}
