//! The connections of all identities.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Version};
use hyper::body::{Body as _, Incoming};
use symbolon_rustls::{ClientAuthRecord, IdentityMap, TlsClient};
use symbolon_transport::{Route, TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, SharedClock};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};

use super::failure::{SendFailure, exchange_error};
use super::http1::{ExchangeFailure, StreamingHttp1};
use super::http2::SharedHttp2;
use super::origin_pool::{OriginPool, PoolLimits};
use super::outgoing::OutgoingBody;
use super::response_body::{DrivenConnection, ResponseBody};
use crate::classify::{NewConnectionError, not_started};
use crate::connector::Connector;
use crate::origin::HttpOrigin;
use crate::stream::HttpStream;

/// Pooled connections with streaming bodies, apart for each client certificate.
///
/// ALPN selects HTTP/2 or HTTP/1.1 (RFC 7301). The connections of an identity are found by it
/// only, and closed when it has no other owner, so that no request uses the connection of another
/// certificate. Clones are cheap and share the connections.
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
}

/// The pools of one identity, or of none.
#[derive(Debug, Default)]
struct IdentityPools {
    tls: OnceCell<Arc<TlsClient>>,
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

/// A connection that is ready for a request.
enum ReadyConnection {
    Http1(Box<StreamingHttp1>, Option<OwnedSemaphorePermit>),
    Http2(SharedHttp2, Option<OwnedSemaphorePermit>),
}

/// A connection for one request.
struct Checkout {
    connection: ReadyConnection,
    /// False for a connection that has served another request.
    is_new: bool,
    /// The record of its handshake; empty for a connection that has served another request.
    record: ClientAuthRecord,
}

impl Connections {
    pub(super) fn new(connector: Connector, limits: PoolLimits, clock: SharedClock) -> Self {
        Self(Arc::new(ConnectionsParts { connector, limits, clock, identities: Mutex::default() }))
    }

    /// Sends a request on a connection that presents this certificate, and receives the head of the
    /// response.
    ///
    /// The URI is absolute. The scheme is `https`, or `http` for this machine and requests without
    /// a certificate. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// [`SendFailure`], which says if the server may have processed the request.
    pub async fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ResponseBody>, SendFailure> {
        let (origin, runtime) = match destination(request.uri(), identity) {
            Ok(destination) => destination,
            Err(error) => return Err(SendFailure::unsent(error, request)),
        };
        let proxy = self.0.connector.proxy_for(Route::Public, &origin);
        let key = PoolKey { origin, is_proxied: proxy.is_some(), runtime };
        let mut request = request;
        loop {
            let pools = self.0.pools(identity);
            let pool = self.0.pool(&pools, &key);
            let checkout = match self.0.checkout(&pool, &key, &pools, identity).await {
                Ok(checkout) => checkout,
                Err(error) => {
                    let failure = SendFailure::unsent(error, request);
                    self.forget_rejected(&failure, identity, &pools);
                    return Err(failure);
                }
            };
            let Checkout { connection, is_new, record } = checkout;
            let failure = match self.exchange(connection, &pool, &key.origin, request, &record).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            self.forget_rejected(&failure, identity, &pools);
            match failure.unsent {
                // A kept connection was closed in the meantime.
                Some(unsent) if !is_new => request = *unsent,
                _ => return Err(failure),
            }
        }
    }

    async fn exchange(
        &self,
        connection: ReadyConnection,
        pool: &Arc<OriginPool>,
        origin: &HttpOrigin,
        request: http::Request<OutgoingBody>,
        record: &ClientAuthRecord,
    ) -> Result<http::Response<ResponseBody>, SendFailure> {
        match connection {
            ReadyConnection::Http1(mut connection, permit) => {
                let request = for_http1(request, origin);
                connection.start();
                match connection.send(request).await {
                    Ok(response) => {
                        let pool = Arc::downgrade(pool);
                        let driven =
                            DrivenConnection { connection: *connection, pool, clock: self.0.clock.clone() };
                        Ok(released(response, Some(driven), permit).await)
                    }
                    Err(failure) => {
                        Err(exchange_error(for_any(failure, origin), connection.activity(), record))
                    }
                }
            }
            ReadyConnection::Http2(mut connection, permit) => {
                let request = for_http2(request);
                match connection.send(request).await {
                    Ok(response) => Ok(released(response, None, permit).await),
                    Err(failure) => Err(exchange_error(failure, connection.activity(), record)),
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
            self.0.identities().remove_if(identity, None, |held| Arc::ptr_eq(held, pools));
            if let Some(tls) = pools.tls.get() {
                self.0.connector.forget(identity, None, tls);
            }
        }
    }
}

impl ConnectionsParts {
    fn pools(&self, identity: Option<&ClientIdentity>) -> Arc<IdentityPools> {
        let mut identities = self.identities();
        identities.drop_unowned();
        Arc::clone(identities.get_or_insert_with(identity, None, Arc::default))
    }

    fn pool(&self, pools: &IdentityPools, key: &PoolKey) -> Arc<OriginPool> {
        let now = self.clock.now();
        let mut pools = pools.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for pool in pools.values() {
            pool.close_outdated(now);
        }
        let pool = pools.entry(key.clone()).or_insert_with(|| Arc::new(OriginPool::new(self.limits)));
        Arc::clone(pool)
    }

    /// Returns a kept connection, or opens one.
    async fn checkout(
        &self,
        pool: &OriginPool,
        key: &PoolKey,
        pools: &IdentityPools,
        identity: Option<&ClientIdentity>,
    ) -> Result<Checkout, NewConnectionError> {
        if let Some(kept) = kept(pool).await {
            return Ok(kept);
        }
        // Until the protocol is known, a burst of requests opens one connection.
        let _opening = match pool.speaks_http1() {
            true => None,
            false => Some(pool.opening.lock().await),
        };
        if let Some(kept) = kept(pool).await {
            return Ok(kept);
        }
        let permit = pool.connection_permit().await;
        if let Some(connection) = pool.take().await {
            return Ok(Checkout::kept(ReadyConnection::Http1(Box::new(connection), permit)));
        }
        let record = ClientAuthRecord::default();
        let stream = self.open(key, pools, identity, &record).await?;
        let connection = new_connection(stream, pool, permit).await.map_err(not_started)?;
        Ok(Checkout { connection, is_new: true, record })
    }

    async fn open(
        &self,
        key: &PoolKey,
        pools: &IdentityPools,
        identity: Option<&ClientIdentity>,
        record: &ClientAuthRecord,
    ) -> Result<HttpStream, NewConnectionError> {
        let proxy = self.connector.proxy_for(Route::Public, &key.origin);
        let tls = match key.origin.is_tls() {
            true => Some(&**pools.tls.get_or_try_init(|| self.connector.tls_client(identity, None)).await?),
            false => None,
        };
        self.connector.open(&key.origin, proxy.as_ref(), tls, record).await
    }

    fn identities(&self) -> MutexGuard<'_, IdentityMap<Arc<IdentityPools>>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout {
    fn kept(connection: ReadyConnection) -> Self {
        Self { connection, is_new: false, record: ClientAuthRecord::default() }
    }
}

/// Returns a connection that is free now.
async fn kept(pool: &OriginPool) -> Option<Checkout> {
    if pool.http2().is_some() {
        let permit = pool.stream_permit().await;
        // The connection may have ended while the permit was awaited.
        let connection = pool.http2()?;
        return Some(Checkout::kept(ReadyConnection::Http2(connection, permit)));
    }
    None
}

/// Starts HTTP on a new stream.
async fn new_connection(
    stream: HttpStream,
    pool: &OriginPool,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<ReadyConnection, hyper::Error> {
    if stream.is_http2() {
        let connection = SharedHttp2::new(stream).await?;
        pool.set_http2(connection.clone());
        // HTTP/2 requests are bounded by streams.
        drop(permit);
        let permit = pool.stream_permit().await;
        return Ok(ReadyConnection::Http2(connection, permit));
    }
    pool.set_http1();
    Ok(ReadyConnection::Http1(Box::new(StreamingHttp1::new(stream).await?), permit))
}

/// Returns the response, and the connection to its pool if there is no body.
async fn released(
    response: http::Response<Incoming>,
    connection: Option<DrivenConnection>,
    permit: Option<OwnedSemaphorePermit>,
) -> http::Response<ResponseBody> {
    let mut response = response.map(|incoming| ResponseBody::new(incoming, connection, permit));
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
    let unsupported = |error| TransportError::new(TransportErrorKind::Unsupported).with_source(error);
    Ok((origin, Handle::try_current().map_err(unsupported)?.id()))
}

/// Sets the target in origin form (RFC 9112 §3.2.1) and `Host`.
fn for_http1(mut request: http::Request<OutgoingBody>, origin: &HttpOrigin) -> http::Request<OutgoingBody> {
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::try_from(origin.host_field())
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Removes `Host`, which HTTP/2 replaces by `:authority` (RFC 9113 §8.3.1).
fn for_http2(mut request: http::Request<OutgoingBody>) -> http::Request<OutgoingBody> {
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
    request
}

/// Restores the absolute URI of an unsent request.
fn for_any(failure: ExchangeFailure, origin: &HttpOrigin) -> ExchangeFailure {
    let (error, unsent) = failure;
    let unsent = unsent.map(|mut request| {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(if origin.is_tls() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = origin.to_string().parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        request
    });
    (error, unsent)
}
