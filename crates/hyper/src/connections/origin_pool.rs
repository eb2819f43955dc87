//! The connections to one origin with one certificate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::http1::StreamingHttp1;
use super::http2::SharedHttp2;
use crate::origin::HttpOrigin;

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// HTTP/1.1 connections to one origin with one certificate.
    pub(super) connections: usize,
    /// Idle HTTP/1.1 connections among them.
    pub(super) idle: usize,
    /// The age from which an idle connection is not used again.
    pub(super) idle_time: Duration,
    /// Simultaneous requests on one HTTP/2 connection.
    pub(super) streams: usize,
    /// Origins with connections of one certificate.
    pub(super) origins: usize,
}

impl PoolLimits {
    /// Returns true if a connection that was last used then can be used now. After the clock was
    /// set back, none can.
    fn is_recent(&self, last_use: SystemTime, now: SystemTime) -> bool {
        now.duration_since(last_use).is_ok_and(|age| age <= self.idle_time)
    }
}

/// The connections to one origin with one certificate.
#[derive(Debug)]
pub(super) struct OriginPool {
    limits: PoolLimits,
    /// The `Host` field of its origin.
    host: Option<HeaderValue>,
    state: Mutex<PoolState>,
    /// One permit for each HTTP/1.1 connection in use. One is opened only if none is idle, so the
    /// permits bound all of them.
    connections: Arc<Semaphore>,
    /// One permit for each HTTP/2 request.
    streams: Arc<Semaphore>,
    /// Held while a connection is opened whose protocol may be HTTP/2, so that a burst of requests
    /// opens one.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<(Box<StreamingHttp1>, SystemTime)>,
    /// With the time of its last request.
    http2: Option<(SharedHttp2, SystemTime)>,
    /// True if the last connection negotiated HTTP/1.1.
    speaks_http1: bool,
}

impl PoolState {
    fn usable_http2(
        &mut self,
        limits: PoolLimits,
        now: SystemTime,
    ) -> Option<&mut (SharedHttp2, SystemTime)> {
        let is_usable =
            |connection: &SharedHttp2, last_use| connection.is_open() && limits.is_recent(last_use, now);
        self.http2.as_mut().filter(|(connection, last_use)| is_usable(connection, *last_use))
    }
}

impl OriginPool {
    pub(super) fn new(origin: &HttpOrigin, limits: PoolLimits) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            limits,
            host: HeaderValue::try_from(origin.host_field()).ok(),
            state: Mutex::default(),
            connections: semaphore(limits.connections),
            streams: semaphore(limits.streams),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the `Host` field of its origin; `None` for a host that no header can name.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Waits until another HTTP/1.1 connection may be in use. `None` if the pool is closed, which
    /// it never is.
    pub(super) async fn connection_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }

    /// Waits until another HTTP/2 request may run.
    pub(super) async fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).acquire_owned().await.ok()
    }

    /// Returns true if there is an HTTP/2 connection that takes requests.
    pub(super) fn has_http2(&self, now: SystemTime) -> bool {
        self.state().usable_http2(self.limits, now).is_some()
    }

    /// Returns the HTTP/2 connection, if there is one that takes requests.
    pub(super) fn http2(&self, now: SystemTime) -> Option<SharedHttp2> {
        let mut state = self.state();
        let (connection, last_use) = state.usable_http2(self.limits, now)?;
        *last_use = now;
        Some(connection.clone())
    }

    pub(super) fn set_http2(&self, connection: SharedHttp2, now: SystemTime) {
        let mut state = self.state();
        state.http2 = Some((connection, now));
        state.speaks_http1 = false;
    }

    pub(super) fn set_http1(&self) {
        self.state().speaks_http1 = true;
    }

    /// Returns true if the last connection negotiated HTTP/1.1.
    pub(super) fn speaks_http1(&self) -> bool {
        self.state().speaks_http1
    }

    /// Takes the most recently used idle connection that is not too old and that the server has not
    /// closed, as far as is known.
    pub(super) async fn take(&self, now: SystemTime) -> Option<Box<StreamingHttp1>> {
        loop {
            let (mut connection, since) = self.state().idle.pop()?;
            if self.limits.is_recent(since, now) && connection.is_open().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, connection: Box<StreamingHttp1>, now: SystemTime) {
        let mut state = self.state();
        if state.idle.len() >= self.limits.idle && !state.idle.is_empty() {
            state.idle.remove(0);
        }
        if self.limits.idle > 0 {
            state.idle.push((connection, now));
        }
    }

    /// Closes connections that have ended or were idle for too long. Requests that still run on an
    /// HTTP/2 connection end on it.
    pub(super) fn close_outdated(&self, now: SystemTime) {
        let mut state = self.state();
        state.idle.retain(|(_, since)| self.limits.is_recent(*since, now));
        state.http2 = state
            .http2
            .take()
            .filter(|(connection, last_use)| connection.is_open() && self.limits.is_recent(*last_use, now));
    }

    /// Returns true if an exchange runs on an HTTP/1.1 connection.
    pub(super) fn has_exchange(&self) -> bool {
        let most = self.limits.connections.min(Semaphore::MAX_PERMITS);
        self.connections.available_permits() < most
    }

    /// Returns the last use of its connections, if it has any that no exchange uses.
    pub(super) fn last_use(&self) -> Option<SystemTime> {
        let state = self.state();
        let idle = state.idle.last().map(|(_, since)| *since);
        idle.max(state.http2.as_ref().map(|(_, last_use)| *last_use))
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
