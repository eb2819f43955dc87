//! Observation of events, for metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{CacheLevel, Error, RefreshReason, Strength, TokenOrigin, catch_panic};

/// A receiver of events, for metrics. [`Context::with_observer`](crate::Context::with_observer)
/// sets it for all components that take the context.
///
/// It runs within the operation that an event describes, on any thread: it must be fast and must
/// not wait. A panic in it changes nothing for the operation. A closure implements it.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU64, Ordering};
/// # use symbolon_types::{Context, Event};
/// let failures = Arc::new(AtomicU64::new(0));
/// let counter = Arc::clone(&failures);
/// let context = Context::default().with_observer(move |event: &Event| {
///     if let Event::TokenRequest(request) = event
///         && request.result.is_err()
///     {
///         counter.fetch_add(1, Ordering::Relaxed);
///     }
/// });
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Receives an event.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// The observer of a context, or none. Clones share it.
#[derive(Clone, Default)]
pub struct SharedObserver(Option<Arc<dyn Observer>>);

impl SharedObserver {
    /// Returns no observer.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Shares an observer.
    #[must_use]
    pub fn new(observer: impl Observer) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Returns true if there is an observer.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Passes an event to the observer. Without one, the event is not made.
    #[inline]
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.0 {
            deliver(&**observer, &event());
        }
    }
}

#[cold]
fn deliver(observer: &dyn Observer, event: &Event) {
    // The failure of the observer is not that of the operation.
    drop(catch_panic("the observer", || observer.observe(event)));
}

impl fmt::Debug for SharedObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedObserver").field("is_set", &self.0.is_some()).finish()
    }
}

/// An operation that has ended, with success or without.
///
/// No event contains a secret, the name of an identity, a host or a resource. Every text is one of
/// a limited set, so that it can be the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A request for a token. Requests for a token of a chain of credentials are one for each link
    /// that is tried.
    TokenRequest(TokenRequestEvent),
    /// A fetch of a token from a token endpoint, a managed identity source or a developer tool,
    /// with its authentication and its retries. Several requests can share it, and a renewal in
    /// the background is of no request.
    TokenFetch(TokenFetchEvent),
    /// The mint of a certificate for a managed identity.
    Mint(MintEvent),
    /// A call to the store behind a token cache.
    Store(StoreEvent),
    /// The opening of a TLS connection by `symbolon-hyper` or `symbolon-reqwest`.
    Handshake(HandshakeEvent),
    /// The refusal of a credential.
    Refusal(RefusalEvent),
}

/// The end of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenRequestEvent {
    /// True if the token is, or would be, bound to a certificate.
    pub is_bound: bool,
    /// The token, or the [type](crate::Error::error_type) of the error.
    pub result: Result<ServedToken, &'static str>,
    /// The duration of the request, zero for a token in memory.
    pub duration: Duration,
}

impl TokenRequestEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(is_bound: bool, result: Result<ServedToken, &'static str>, duration: Duration) -> Self {
        Self { is_bound, result, duration }
    }
}

/// A token that a request returned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServedToken {
    /// The origin of the token.
    pub origin: TokenOrigin,
    /// The part of the cache that the token was read from.
    pub cache_level: Option<CacheLevel>,
    /// The reason for the fetch that the request waited for or started.
    pub refresh_reason: RefreshReason,
    /// The time until the token expires.
    pub expires_in: Duration,
}

impl ServedToken {
    /// Creates the value from its facts.
    #[must_use]
    pub fn new(
        origin: TokenOrigin,
        cache_level: Option<CacheLevel>,
        refresh_reason: RefreshReason,
        expires_in: Duration,
    ) -> Self {
        Self { origin, cache_level, refresh_reason, expires_in }
    }
}

/// The end of a fetch of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenFetchEvent {
    /// True if the token is, or would be, bound to a certificate.
    pub is_bound: bool,
    /// The reason for the fetch. `Due` is a renewal while the old token is served.
    pub refresh_reason: RefreshReason,
    /// The token, or the error.
    pub result: Result<FetchedToken, FetchError>,
    /// The duration of the fetch.
    pub duration: Duration,
}

impl TokenFetchEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(
        is_bound: bool,
        refresh_reason: RefreshReason,
        result: Result<FetchedToken, FetchError>,
        duration: Duration,
    ) -> Self {
        Self { is_bound, refresh_reason, result, duration }
    }
}

/// A token that was fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FetchedToken {
    /// The number of HTTP requests, at least 1.
    pub attempts: usize,
    /// The time until the token expires.
    pub expires_in: Duration,
}

impl FetchedToken {
    /// Creates the value from its facts.
    #[must_use]
    pub fn new(attempts: usize, expires_in: Duration) -> Self {
        Self { attempts, expires_in }
    }
}

/// The error of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchError {
    /// The [type](crate::Error::error_type) of the error.
    pub error_type: &'static str,
    /// The HTTP status of the response, if there was one.
    pub status: Option<u16>,
}

impl From<&Error> for FetchError {
    fn from(error: &Error) -> Self {
        Self { error_type: error.error_type(), status: error.status() }
    }
}

/// The end of a mint.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MintEvent {
    /// True if the mint replaces a certificate that is still served.
    pub is_renewal: bool,
    /// The strength of the key, or the [type](crate::Error::error_type) of the error.
    pub result: Result<Strength, &'static str>,
    /// The duration from the request for the platform metadata to the certificate.
    pub duration: Duration,
}

impl MintEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(is_renewal: bool, result: Result<Strength, &'static str>, duration: Duration) -> Self {
        Self { is_renewal, result, duration }
    }
}

/// The end of a call to a token store.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoreEvent {
    /// The kind of call.
    pub operation: StoreOperation,
    /// Success, or the [type](crate::Error::error_type) of the error: `timeout` if the store did
    /// not respond in time.
    pub result: Result<(), &'static str>,
    /// The duration of the call.
    pub duration: Duration,
}

impl StoreEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(operation: StoreOperation, result: Result<(), &'static str>, duration: Duration) -> Self {
        Self { operation, result, duration }
    }
}

/// A kind of call to a token store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// A read.
    Read,
    /// A write.
    Write,
    /// The removal of an entry.
    Remove,
    /// The wait for the lock between processes.
    Lock,
}

impl StoreOperation {
    /// Returns `read`, `write`, `remove` or `lock`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Lock => "lock",
        }
    }
}

/// The end of the opening of a TLS connection: name resolution, connection, proxy and handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HandshakeEvent {
    /// True if the client has a certificate for the connection.
    pub has_identity: bool,
    /// The connection, or the type of the error: `cancelled` if the request was given up, such as
    /// after its time limit.
    pub result: Result<TlsSession, &'static str>,
    /// The duration of the handshake, and of all steps before it.
    pub duration: Duration,
}

impl HandshakeEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(has_identity: bool, result: Result<TlsSession, &'static str>, duration: Duration) -> Self {
        Self { has_identity, result, duration }
    }
}

/// The session of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSession {
    /// The version of TLS, such as `1.3`.
    pub version: &'static str,
    /// True if an earlier session was resumed.
    pub is_resumed: bool,
}

impl TlsSession {
    /// Creates the value from its facts.
    #[must_use]
    pub fn new(version: &'static str, is_resumed: bool) -> Self {
        Self { version, is_resumed }
    }
}

/// The refusal of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalEvent {
    /// The party that refused it.
    pub refused_by: RefusingParty,
    /// True if there is another credential, with which the request is sent once more.
    pub has_successor: bool,
}

impl RefusalEvent {
    /// Creates the event from its facts.
    #[must_use]
    pub fn new(refused_by: RefusingParty, has_successor: bool) -> Self {
        Self { refused_by, has_successor }
    }
}

/// The party that refused a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusingParty {
    /// The token service.
    TokenService,
    /// A resource, which refused the certificate of a bound token.
    Resource,
}

impl RefusingParty {
    /// Returns `token_service` or `resource`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenService => "token_service",
            Self::Resource => "resource",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn observer_receives_each_event() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&events);
        let observer = SharedObserver::new(move |event: &Event| received.lock().unwrap().push(*event));
        let event = Event::Refusal(RefusalEvent::new(RefusingParty::Resource, true));
        observer.emit(|| event);
        assert!(observer.is_set() && !SharedObserver::none().is_set());
        assert_eq!(*events.lock().unwrap(), [event]);
    }

    #[test]
    fn event_is_made_for_an_observer_only() {
        SharedObserver::none().emit(|| panic!("nobody observes"));
    }

    #[test]
    fn panic_of_an_observer_is_caught() {
        let observer = SharedObserver::new(|_: &Event| panic!("a bug"));
        observer.emit(|| Event::Refusal(RefusalEvent::new(RefusingParty::TokenService, false)));
    }
}
