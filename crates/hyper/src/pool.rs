//! Idle connections, pooled per client identity.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon_rustls::IdentityMap;
use symbolon_types::{ClientIdentity, ServerAuth};
use tokio::runtime;

use crate::http1::Http1Connection;
use crate::origin::HttpOrigin;

/// Older idle connections are not reused: load balancers and firewalls drop idle flows silently
/// after a few minutes, those of Azure after four.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// Idle connections kept per origin, for a burst of requests.
const IDLE_PER_KEY: usize = 8;
/// The idle connections of a transport, apart for each pair of identity and server authentication.
///
/// Each origin has at most 8. Those of an identity are closed when no one else holds the identity
/// or when its certificate has ended; any may be closed with those of the least recently used
/// identity.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<IdentityMap<Arc<ClientConnections>>>);

/// The idle connections of one client, which are closed when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct ClientConnections(Mutex<HashMap<ConnectionKey, VecDeque<IdleConnection>>>);

/// The properties that connections must share to be interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionKey {
    pub(crate) origin: HttpOrigin,
    pub(crate) is_proxied: bool,
    /// A connection can only be woken by the runtime that opened it.
    pub(crate) runtime: runtime::Id,
}

#[derive(Debug)]
struct IdleConnection {
    connection: Http1Connection,
    since: SystemTime,
}

impl Pool {
    /// Returns the client for this identity and server authentication. Outdated connections are
    /// closed first.
    pub(crate) fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        now: SystemTime,
    ) -> Arc<ClientConnections> {
        let mut clients = self.clients();
        clients.retain_owned(|identity| now < identity.not_after());
        for client in clients.values() {
            client.close_outdated(now);
        }
        Arc::clone(clients.get_or_insert_with(identity, server, Arc::default))
    }

    /// Drops the client of an identity unless it was replaced already; its connections are closed
    /// as they become idle.
    pub(crate) fn forget(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        client: &Arc<ClientConnections>,
    ) {
        self.clients().remove_if(identity, server, |kept| Arc::ptr_eq(kept, client));
    }

    fn clients(&self) -> MutexGuard<'_, IdentityMap<Arc<ClientConnections>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientConnections {
    /// Takes the most recently used idle connection.
    pub(crate) fn take(&self, key: &ConnectionKey) -> Option<Http1Connection> {
        self.idle().get_mut(key)?.pop_back().map(|idle| idle.connection)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, key: ConnectionKey, connection: Http1Connection, now: SystemTime) {
        let mut idle = self.idle();
        let of_key = idle.entry(key).or_default();
        if of_key.len() >= IDLE_PER_KEY {
            of_key.pop_front();
        }
        of_key.push_back(IdleConnection { connection, since: now });
    }

    /// Closes connections that are too old. After the clock was set back, all count as too old.
    fn close_outdated(&self, now: SystemTime) {
        self.idle().retain(|_, of_key| {
            of_key.retain(|idle| now.duration_since(idle.since).is_ok_and(|age| age <= IDLE_LIMIT));
            !of_key.is_empty()
        });
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<ConnectionKey, VecDeque<IdleConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
