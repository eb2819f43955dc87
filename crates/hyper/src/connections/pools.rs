//! The connections of all identities.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::header::{CONNECTION, HOST, TE};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use symbolon_rustls::IdentityMap;
use symbolon_transport::{
    LateCertificate, PhaseCell, RequestPhase, Route, TransportError, TransportErrorKind,
};
use symbolon_types::{ClientIdentity, ServerAuth, SharedClock};
use tokio::runtime::Id;
use tokio::sync::{OnceCell, OwnedSemaphorePermit};

use super::failure::{SendFailure, exchange_error};
use super::http1::StreamingHttp1;
use super::http2::SharedHttp2;
use super::origin_pool::{OriginPool, PoolLimits};
use super::outgoing::OutgoingBody;
use super::response_body::{OpenExchange, ResponseBody};
use crate::classify::{NewConnectionError, accepted_without_certificate, is_accepted, not_started};
use crate::connector::{ClientAuth, Connector, current_runtime};
use crate::http1::announce_no_content;
use crate::origin::HttpOrigin;
use crate::proxy::Proxy;
use crate::stream::HttpStream;
use crate::tls::TlsBackendClient;

/// The shortest interval in which outdated connections are closed.
const CLOSING_INTERVAL: Duration = Duration::from_secs(1);

/// Pooled connections with streaming bodies, apart for each client certificate.
///
/// ALPN selects HTTP/2 or HTTP/1.1 (RFC 7301). The connections of an identity are found by it
/// only, so that no request uses the connection of another certificate. The next request of any
/// identity closes those that were idle for too long, and those whose identity has no other owner
/// or whose certificate has ended. Clones are cheap and share the connections.
///
/// A request is sent again only if no part of it was written.
#[derive(Clone, Debug)]
pub struct Connections(Arc<ConnectionsParts>);

#[derive(Debug)]
struct ConnectionsParts {
    connector: Connector,
    limits: PoolLimits,
    clock: SharedClock,
    identities: Mutex<IdentityMap<Arc<IdentityPools>>>,
    /// The time at which outdated connections were last closed.
    last_closing: Mutex<SystemTime>,
}

/// The pools of one identity, or of none.
#[derive(Debug, Default)]
struct IdentityPools {
    tls: OnceCell<Arc<dyn TlsBackendClient>>,
    pools: Mutex<HashMap<PoolKey, Arc<OriginPool>>>,
}

/// The properties that connections must share to be interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    origin: HttpOrigin,
    is_proxied: bool,
    /// A connection can only be woken by the runtime that opened it.
    runtime: Id,
}

/// The destination of a request.
#[derive(Clone, Copy)]
struct Target<'a> {
    key: &'a PoolKey,
    proxy: Option<&'a Proxy>,
    identity: Option<&'a ClientIdentity>,
    pools: &'a IdentityPools,
    phase: &'a PhaseCell,
    /// True if the server may request the certificate after it has received the request.
    is_late: bool,
}

/// A connection that is ready for a request.
enum ReadyConnection {
    Http1 {
        connection: Box<StreamingHttp1>,
        permit: Option<OwnedSemaphorePermit>,
        /// The client authentication; `None` if it has served another request, which the server
        /// accepted with the certificate.
        client_auth: Option<ClientAuth>,
    },
    Http2 {
        connection: SharedHttp2,
        permit: Option<OwnedSemaphorePermit>,
    },
}

/// A connection for one request.
struct Checkout {
    connection: ReadyConnection,
    /// True if it was opened for this request.
    is_new: bool,
}

impl IdentityPools {
    /// Closes connections that have ended or were idle for too long, and removes empty pools.
    fn close_outdated(&self, now: SystemTime) {
        self.pools().retain(|_, pool| {
            pool.close_outdated(now);
            pool.last_use().is_some() || pool.has_exchange() || Arc::strong_count(pool) > 1
        });
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<PoolKey, Arc<OriginPool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Returns true if the certificate can be presented after the handshake, where a request
    /// permits it.
    #[must_use]
    pub fn renegotiates(&self) -> bool {
        self.0.connector.renegotiates()
    }

    /// Closes the idle connections of a certificate, and those in use at the end of their requests.
    /// A later request with it opens another.
    pub fn drain(&self, identity: &ClientIdentity) {
        self.0.identities().remove_if(Some(identity), &ServerAuth::Roots, |_| true);
    }

    pub(super) fn new(connector: Connector, limits: PoolLimits, clock: SharedClock) -> Self {
        Self(Arc::new(ConnectionsParts {
            connector,
            limits,
            clock,
            identities: Mutex::default(),
            last_closing: Mutex::new(SystemTime::UNIX_EPOCH),
        }))
    }

    /// Sends a request on a connection that presents this certificate, and receives the head of the
    /// response.
    ///
    /// With a [`LateCertificate`] among the extensions of the request, and a TLS library that
    /// supports it, the certificate may be presented after the request was sent. A success without
    /// it is then an error, and another response closes the connection.
    ///
    /// The URI is absolute. The scheme is `https`, or `http` for this machine and requests without
    /// a certificate. Dropping the future ends the exchange. A [`PhaseCell`] among the extensions
    /// of the request is set to its phases.
    ///
    /// # Errors
    /// [`SendFailure`], which says if the server may have processed the request.
    pub async fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ResponseBody>, SendFailure> {
        // On the heap, so that the futures stay small.
        let request = Box::new(request);
        let (origin, runtime) = match destination(request.uri(), identity) {
            Ok(destination) => destination,
            Err(error) => return Err(SendFailure::unsent(error, request)),
        };
        let proxy = match self.0.connector.proxy_for(Route::Public, &origin) {
            Ok(proxy) => proxy,
            Err(error) => {
                let error = error.with_destination(Some(origin.to_string()));
                return Err(SendFailure::unsent(error, request));
            }
        };
        let key = PoolKey { origin, is_proxied: proxy.is_some(), runtime };
        let sent = self.send_by(request, &key, proxy, identity).await;
        sent.map_err(|mut failure| {
            failure.error = failure.error.with_destination(Some(key.origin.to_string()));
            if let Some(proxy) = proxy {
                failure.error = failure.error.with_proxy(proxy.with_variable());
            }
            failure
        })
    }

    async fn send_by(
        &self,
        mut request: Box<http::Request<OutgoingBody>>,
        key: &PoolKey,
        proxy: Option<&Proxy>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ResponseBody>, SendFailure> {
        let uri = request.uri().clone();
        let phase = request.extensions().get::<PhaseCell>().cloned().unwrap_or_default();
        let is_late = request.extensions().get::<LateCertificate>().is_some();
        loop {
            let pools = self.0.pools(identity);
            let pool = self.0.pool(&pools, key);
            let target = Target { key, proxy, identity, pools: &pools, phase: &phase, is_late };
            let Checkout { connection, is_new } = match self.0.checkout(&pool, target).await {
                Ok(checkout) => checkout,
                Err(error) => {
                    let failure = SendFailure::unsent(error, request);
                    self.forget_rejected(&failure, identity, &pools);
                    return Err(failure);
                }
            };
            phase.enter(RequestPhase::Response);
            let mut failure = match self.exchange(connection, &pool, request).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            self.forget_rejected(&failure, identity, &pools);
            if let Some(unsent) = &mut failure.unsent {
                *unsent.uri_mut() = uri.clone();
            }
            match failure.unsent {
                // A kept connection was closed in the meantime.
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(failure),
            }
        }
    }

    async fn exchange(
        &self,
        connection: ReadyConnection,
        pool: &Arc<OriginPool>,
        mut request: Box<http::Request<OutgoingBody>>,
    ) -> Result<http::Response<ResponseBody>, SendFailure> {
        match connection {
            ReadyConnection::Http1 { mut connection, permit, client_auth } => {
                connection.start();
                let is_missing = || client_auth.as_ref().is_some_and(ClientAuth::is_missing);
                let was_missing = is_missing();
                set_for_http1(&mut request, pool.host());
                match connection.send(request).await {
                    Ok(response) if is_missing() && is_accepted(response.status()) => {
                        Err(SendFailure::from(accepted_without_certificate()))
                    }
                    Ok(response) => {
                        // A kept connection has presented the certificate.
                        let pool = if is_missing() { Weak::new() } else { Arc::downgrade(pool) };
                        let clock = self.0.clock.clone();
                        Ok(released(response, OpenExchange::Http1 { connection, pool, clock, permit }).await)
                    }
                    Err(failure) => {
                        let activity = connection.activity();
                        // A server that has begun to respond has accepted the certificate.
                        let client_auth = client_auth.filter(|_| !activity.is_received());
                        let record = client_auth.as_ref().map(|client_auth| &client_auth.record);
                        Err(exchange_error(failure, activity, record, was_missing))
                    }
                }
            }
            ReadyConnection::Http2 { mut connection, permit } => {
                set_for_http2(&mut request);
                match connection.send(request).await {
                    Ok((response, upload)) => {
                        let exchange = OpenExchange::Http2 { _upload: upload, _permit: permit };
                        Ok(released(response, exchange).await)
                    }
                    Err(failure) => Err(exchange_error(
                        failure,
                        connection.activity(),
                        connection.unproven_record(),
                        false,
                    )),
                }
            }
        }
    }

    /// Closes the connections of an identity that the server refused. The next handshake is a full
    /// one.
    fn forget_rejected(
        &self,
        failure: &SendFailure,
        identity: Option<&ClientIdentity>,
        pools: &Arc<IdentityPools>,
    ) {
        if failure.is_identity_rejected() || failure.is_lost_with_identity {
            self.0.identities().remove_if(identity, &ServerAuth::Roots, |held| Arc::ptr_eq(held, pools));
            if let Some(tls) = pools.tls.get() {
                tls.forget_sessions();
            }
        }
    }
}

impl ConnectionsParts {
    fn pools(&self, identity: Option<&ClientIdentity>) -> Arc<IdentityPools> {
        let now = self.clock.now();
        let mut identities = self.identities();
        identities.retain_owned(|identity| now < identity.not_after());
        if self.is_closing_due(now) {
            identities.values().for_each(|pools| pools.close_outdated(now));
        }
        Arc::clone(identities.get_or_insert_with(identity, &ServerAuth::Roots, Arc::default))
    }

    /// Returns true once a second, and after the clock was set back.
    fn is_closing_due(&self, now: SystemTime) -> bool {
        let mut last = self.last_closing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.duration_since(*last).map_or(true, |passed| passed >= CLOSING_INTERVAL);
        if is_due {
            *last = now;
        }
        is_due
    }

    fn pool(&self, pools: &IdentityPools, key: &PoolKey) -> Arc<OriginPool> {
        let mut pools = pools.pools();
        if let Some(pool) = pools.get(key) {
            return Arc::clone(pool);
        }
        if pools.len() >= self.limits.origins {
            drop_least_recent(&mut pools);
        }
        let pool = Arc::new(OriginPool::new(&key.origin, self.limits));
        pools.insert(key.clone(), Arc::clone(&pool));
        pool
    }

    /// Returns a kept connection, or opens one.
    async fn checkout(&self, pool: &OriginPool, target: Target<'_>) -> Result<Checkout, NewConnectionError> {
        target.phase.enter(RequestPhase::Queue);
        let mut opening = None;
        if !pool.speaks_http1() {
            if let Some(shared) = self.shared(pool).await {
                return Ok(shared);
            }
            // Until the protocol is known, a burst of requests opens one connection.
            let first = pool.opening.lock().await;
            if let Some(shared) = self.shared(pool).await {
                return Ok(shared);
            }
            opening = (!pool.speaks_http1()).then_some(first);
        }
        let permit = pool.connection_permit().await;
        if let Some(connection) = pool.take(self.clock.now()).await {
            let connection = ReadyConnection::Http1 { connection, permit, client_auth: None };
            return Ok(Checkout { connection, is_new: false });
        }
        // On the heap, so that the futures of other requests stay small.
        let connection = Box::pin(self.connect(pool, target, permit, opening)).await?;
        Ok(Checkout { connection, is_new: true })
    }

    /// Opens a connection. `opening` ends once its protocol is known.
    async fn connect(
        &self,
        pool: &OriginPool,
        target: Target<'_>,
        permit: Option<OwnedSemaphorePermit>,
        opening: Option<tokio::sync::MutexGuard<'_, ()>>,
    ) -> Result<ReadyConnection, NewConnectionError> {
        let client_auth = self.connector.client_auth(target.identity, target.is_late);
        let stream = self.open(target, &client_auth).await?;
        if !stream.is_http2() {
            pool.set_http1();
            drop(opening);
            let connection = StreamingHttp1::new(stream).await.map_err(not_started)?;
            return Ok(ReadyConnection::Http1 { connection, permit, client_auth: Some(client_auth) });
        }
        // HTTP/2 requests are bounded by streams.
        drop(permit);
        let connection = SharedHttp2::new(stream, client_auth.record).await.map_err(not_started)?;
        pool.set_http2(connection.clone(), self.clock.now());
        drop(opening);
        let permit = pool.stream_permit().await;
        Ok(ReadyConnection::Http2 { connection, permit })
    }

    /// Returns the HTTP/2 connection, once another request may run on it.
    async fn shared(&self, pool: &OriginPool) -> Option<Checkout> {
        if !pool.has_http2(self.clock.now()) {
            return None;
        }
        let permit = pool.stream_permit().await;
        // The connection may have ended while the permit was awaited.
        let connection = pool.http2(self.clock.now())?;
        Some(Checkout { connection: ReadyConnection::Http2 { connection, permit }, is_new: false })
    }

    async fn open(
        &self,
        target: Target<'_>,
        client_auth: &ClientAuth,
    ) -> Result<HttpStream, NewConnectionError> {
        let Target { key, proxy, identity, pools, phase, .. } = target;
        let tls = match key.origin.is_tls() {
            true => {
                let make = || self.connector.tls_client(identity, &ServerAuth::Roots);
                Some(&**pools.tls.get_or_try_init(make).await?)
            }
            false => None,
        };
        self.connector.open(&key.origin, proxy, tls, client_auth, &ServerAuth::Roots, phase).await
    }

    fn identities(&self) -> MutexGuard<'_, IdentityMap<Arc<IdentityPools>>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the least recently used pool among those without a request that waits or needs a permit.
fn drop_least_recent(pools: &mut HashMap<PoolKey, Arc<OriginPool>>) {
    let unused = pools.iter().filter(|(_, pool)| Arc::strong_count(pool) == 1 && !pool.has_exchange());
    let oldest = unused.min_by_key(|(_, pool)| pool.last_use()).map(|(key, _)| key.clone());
    oldest.and_then(|key| pools.remove(&key));
}

/// Returns the response. Ends the exchange if there is no body. After the status 101, the
/// connection belongs to the caller, who finds it with `hyper::upgrade::on`.
async fn released(
    response: http::Response<Incoming>,
    exchange: OpenExchange,
) -> http::Response<ResponseBody> {
    let exchange = match exchange {
        OpenExchange::Http1 { connection, .. } if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            connection.hand_over().await;
            None
        }
        exchange => Some(exchange),
    };
    let mut response = response.map(|incoming| ResponseBody::new(incoming, exchange));
    if response.body().is_end_stream() {
        poll_fn(|context| {
            response.body_mut().release(context);
            Poll::Ready(())
        })
        .await;
    }
    response
}

/// Returns the origin of a URI and the current runtime.
fn destination(uri: &Uri, identity: Option<&ClientIdentity>) -> Result<(HttpOrigin, Id), TransportError> {
    let origin = HttpOrigin::of_uri(uri).ok_or(TransportErrorKind::Unsupported)?;
    if !origin.is_tls() && (identity.is_some() || !origin.is_local()) {
        return Err(TransportErrorKind::Insecure.into());
    }
    Ok((origin, current_runtime()?))
}

/// Sets the target in origin form (RFC 9112 §3.2.1) and `Host`.
fn set_for_http1(request: &mut http::Request<OutgoingBody>, host: Option<&HeaderValue>) {
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    if request.body().is_end_stream() {
        announce_no_content(request);
    }
    // A `TE` field is for the next recipient only, which `Connection` states (RFC 9110 §10.1.4).
    if request.headers().contains_key(TE) {
        request.headers_mut().append(CONNECTION, HeaderValue::from_static("TE"));
    }
    if !request.headers().contains_key(HOST)
        && let Some(host) = host
    {
        request.headers_mut().insert(HOST, host.clone());
    }
}

/// Removes `Host`, which HTTP/2 replaces by `:authority` (RFC 9113 §8.3.1).
fn set_for_http2(request: &mut http::Request<OutgoingBody>) {
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
}
