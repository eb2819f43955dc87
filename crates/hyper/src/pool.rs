//! Idle connections, pooled per client identity.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon_transport::{CertificatePin, TransportError};
use symbolon_types::{ClientIdentity, Thumbprint, WeakClientIdentity};
use tokio::runtime;
use tokio::sync::OnceCell;

use crate::http1::Http1Connection;
use crate::origin::HttpOrigin;
use crate::tls::{TlsClient, TlsFactory};

/// Older idle connections are not reused: load balancers and firewalls drop idle flows silently
/// after a few minutes, those of Azure after four.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// Idle connections kept per origin, for a burst of requests.
const IDLE_PER_KEY: usize = 8;
/// Identities and pins whose sessions and connections are kept. A process has a handful; beyond the
/// limit, the least recently used one is dropped and needs a full handshake again.
const IDENTITIES: usize = 64;

/// The clients of a transport: one without a certificate, and one for each pair of identity and
/// pinned server.
///
/// There are at most 64 of these, each with at most 8 idle connections per origin. A client with an
/// identity is dropped when no one else holds the identity; any may be dropped as the least
/// recently used one.
#[derive(Debug)]
pub(crate) struct Pool {
    anonymous: Arc<ClientConnections>,
    identified: Mutex<IdentityClients>,
}

#[derive(Debug, Default)]
struct IdentityClients {
    clients: HashMap<TlsKey, PooledClient>,
    uses: u64,
}

/// The identity that the client presents and the pin that the server must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TlsKey {
    identity: Option<Thumbprint>,
    pinned_server: Option<CertificatePin>,
}

#[derive(Debug)]
struct PooledClient {
    identity: Option<WeakClientIdentity>,
    client: Arc<ClientConnections>,
    last_use: u64,
}

/// A client: its TLS configuration, created when first needed, and its idle connections, which are
/// closed when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct ClientConnections {
    tls: OnceCell<TlsClient>,
    idle: Mutex<HashMap<ConnectionKey, VecDeque<IdleConnection>>>,
}

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
    pub(crate) fn new() -> Self {
        Self { anonymous: Arc::default(), identified: Mutex::default() }
    }

    /// Returns the client for this identity and pin. Outdated connections are closed first.
    pub(crate) fn client(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
        now: SystemTime,
    ) -> Arc<ClientConnections> {
        self.anonymous.close_outdated(now);
        let mut identified = self.identified();
        identified.clients.retain(|_, kept| kept.has_owner());
        for kept in identified.clients.values() {
            kept.client.close_outdated(now);
        }
        match (identity, pinned_server) {
            (None, None) => Arc::clone(&self.anonymous),
            _ => identified.client(identity, pinned_server),
        }
    }

    /// Drops the client of an identity unless it was replaced already: its sessions, and its
    /// connections as they become idle.
    pub(crate) fn forget(
        &self,
        identity: &ClientIdentity,
        pinned_server: Option<CertificatePin>,
        client: &Arc<ClientConnections>,
    ) {
        let key = TlsKey::of(Some(identity), pinned_server);
        if let Entry::Occupied(entry) = self.identified().clients.entry(key)
            && Arc::ptr_eq(&entry.get().client, client)
        {
            entry.remove();
        }
    }

    fn identified(&self) -> MutexGuard<'_, IdentityClients> {
        self.identified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdentityClients {
    fn client(
        &mut self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Arc<ClientConnections> {
        self.uses += 1;
        let key = TlsKey::of(identity, pinned_server);
        if self.clients.len() >= IDENTITIES && !self.clients.contains_key(&key) {
            let oldest = self.clients.iter().min_by_key(|(_, kept)| kept.last_use).map(|(key, _)| *key);
            oldest.and_then(|key| self.clients.remove(&key));
        }
        let kept = self.clients.entry(key).or_insert_with(|| PooledClient {
            identity: identity.map(ClientIdentity::downgrade),
            client: Arc::default(),
            last_use: 0,
        });
        kept.last_use = self.uses;
        Arc::clone(&kept.client)
    }
}

impl TlsKey {
    fn of(identity: Option<&ClientIdentity>, pinned_server: Option<CertificatePin>) -> Self {
        Self { identity: identity.map(ClientIdentity::thumbprint), pinned_server }
    }
}

impl PooledClient {
    /// Returns true if the identity, if there is one, still has an owner.
    fn has_owner(&self) -> bool {
        self.identity.as_ref().is_none_or(|identity| identity.upgrade().is_some())
    }
}

impl ClientConnections {
    /// Returns the TLS configuration, created at the first use.
    pub(crate) async fn tls(
        &self,
        factory: &TlsFactory,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Result<&TlsClient, TransportError> {
        self.tls.get_or_try_init(|| factory.client(identity, pinned_server)).await
    }

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
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
