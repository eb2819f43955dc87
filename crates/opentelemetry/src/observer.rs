//! The observer that records events in the instruments.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use symbolon_types::{
    Event, HandshakeEvent, MintEvent, Observer, RefusalEvent, StoreEvent, TokenFetchEvent, TokenRequestEvent,
};

use crate::instruments::Instruments;

/// An observer that records events as metrics of OpenTelemetry. All attributes are of limited sets.
///
/// ```
/// # use symbolon_types::Context;
/// # use symbolon_opentelemetry::{OpenTelemetryObserver, opentelemetry::global};
/// let observer = OpenTelemetryObserver::new(&global::meter("my-service"));
/// let context = Context::default().with_observer(observer);
/// ```
#[derive(Debug)]
pub struct OpenTelemetryObserver(Instruments);

impl OpenTelemetryObserver {
    /// Creates the observer, with instruments of this meter. The meter must be that of a configured
    /// provider: what is recorded before is lost.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self(Instruments::new(meter))
    }

    fn token_request(&self, event: &TokenRequestEvent) {
        let mut attributes = vec![token_type(event.is_bound)];
        match event.result {
            Ok(token) => {
                attributes.push(KeyValue::new("symbolon.token.origin", token.origin.as_str()));
                if let Some(level) = token.cache_level {
                    attributes.push(KeyValue::new("symbolon.cache.level", level.as_str()));
                }
                let left = token.expires_in.as_secs_f64();
                self.0.remaining_lifetime.record(left, &attributes);
                attributes.push(KeyValue::new("symbolon.refresh.reason", token.refresh_reason.as_str()));
            }
            Err(error) => attributes.push(error_type(error)),
        }
        self.0.request_duration.record(event.duration.as_secs_f64(), &attributes);
    }

    fn token_fetch(&self, event: &TokenFetchEvent) {
        let reason = event.refresh_reason.as_str();
        let mut attributes =
            vec![token_type(event.is_bound), KeyValue::new("symbolon.refresh.reason", reason)];
        if let Err(error) = event.result {
            attributes.push(error_type(error.error_type));
            if let Some(status) = error.status {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
            }
        }
        self.0.fetch_duration.record(event.duration.as_secs_f64(), &attributes);
    }

    fn mint(&self, event: &MintEvent) {
        let renewal = KeyValue::new("symbolon.mint.renewal", event.is_renewal);
        let result = match event.result {
            Ok(strength) => KeyValue::new("symbolon.key.strength", strength.as_str()),
            Err(error) => error_type(error),
        };
        self.0.mint_duration.record(event.duration.as_secs_f64(), &[renewal, result]);
    }

    fn store(&self, event: &StoreEvent) {
        let mut attributes = vec![KeyValue::new("symbolon.store.operation", event.operation.as_str())];
        attributes.extend(event.result.err().map(error_type));
        self.0.store_duration.record(event.duration.as_secs_f64(), &attributes);
    }

    fn handshake(&self, event: &HandshakeEvent) {
        let mut attributes = vec![KeyValue::new("symbolon.tls.client_certificate", event.has_identity)];
        match event.result {
            Ok(session) => attributes.extend([
                KeyValue::new("tls.protocol.version", session.version),
                KeyValue::new("tls.resumed", session.is_resumed),
            ]),
            Err(error) => attributes.push(error_type(error)),
        }
        self.0.handshake_duration.record(event.duration.as_secs_f64(), &attributes);
    }

    fn refusal(&self, event: &RefusalEvent) {
        let attributes = [
            KeyValue::new("symbolon.refused_by", event.refused_by.as_str()),
            KeyValue::new("symbolon.has_successor", event.has_successor),
        ];
        self.0.refusals.add(1, &attributes);
    }
}

impl Observer for OpenTelemetryObserver {
    fn observe(&self, event: &Event) {
        match event {
            Event::TokenRequest(event) => self.token_request(event),
            Event::TokenFetch(event) => self.token_fetch(event),
            Event::Mint(event) => self.mint(event),
            Event::Store(event) => self.store(event),
            Event::Handshake(event) => self.handshake(event),
            Event::Refusal(event) => self.refusal(event),
            _ => {}
        }
    }
}

/// The `token_type` of the token, as in the response of a token service.
fn token_type(is_bound: bool) -> KeyValue {
    KeyValue::new("symbolon.token.type", if is_bound { "mtls_pop" } else { "Bearer" })
}

fn error_type(error: &'static str) -> KeyValue {
    KeyValue::new("error.type", error)
}
