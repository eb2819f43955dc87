//! Idle connections, by whom they speak for.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon_transport::{CertificatePin, TransportError};
use symbolon_types::{ClientIdentity, Thumbprint, WeakClientIdentity};
use tokio::runtime;
use tokio::sync::OnceCell;

use crate::channel::Channel;
use crate::origin::Origin;
use crate::tls::{TlsClient, TlsFactory};

/// An idle connection older than this is not used again: load balancers and firewalls drop idle
/// flows without a word after a few minutes, Azure's after four.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// Idle connections kept for one origin, for a burst of requests. More would only hold sockets.
const IDLE_PER_SITE: usize = 8;
/// Identities, and pins, whose sessions and connections are kept. A process has a handful; one with
/// more makes a full handshake again for the one used longest ago.
const IDENTITIES: usize = 64;

/// All clients of a transport: the one without a certificate, and one per identity and pinned server.
///
/// At most 64 of these, and for each origin at most 8 idle connections of each. An identity goes
/// with all that is kept for it when nobody else holds it, or, as a pin does, as the one used longest
/// ago.
#[derive(Debug)]
pub(crate) struct Pool {
    anonymous: Arc<Client>,
    identified: Mutex<Identified>,
}

#[derive(Debug, Default)]
struct Identified {
    clients: HashMap<Party, Kept>,
    uses: u64,
}

/// Whose connections they are: as whom the client speaks, and how it knows the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Party {
    identity: Option<Thumbprint>,
    pinned_server: Option<CertificatePin>,
}

#[derive(Debug)]
struct Kept {
    identity: Option<WeakClientIdentity>,
    client: Arc<Client>,
    last_use: u64,
}

/// One client: its TLS, once it is needed, and its idle connections. Idle ones are closed when it
/// is dropped; those in use hold on to it.
#[derive(Debug, Default)]
pub(crate) struct Client {
    tls: OnceCell<TlsClient>,
    idle: Mutex<HashMap<Site, VecDeque<Idle>>>,
}

/// What connections must have in common to stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) origin: Origin,
    pub(crate) is_proxied: bool,
    /// A connection is woken by the runtime that opened it, and by no other.
    pub(crate) runtime: runtime::Id,
}

#[derive(Debug)]
struct Idle {
    channel: Channel,
    since: SystemTime,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { anonymous: Arc::default(), identified: Mutex::default() }
    }

    /// The client with this identity, or with none, of servers with this pin, or of all others.
    /// Whatever has had its time is closed first.
    pub(crate) fn client(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
        now: SystemTime,
    ) -> Arc<Client> {
        self.anonymous.close_outlived(now);
        let mut identified = self.identified();
        identified.clients.retain(|_, kept| kept.is_wanted());
        for kept in identified.clients.values() {
            kept.client.close_outlived(now);
        }
        match (identity, pinned_server) {
            (None, None) => Arc::clone(&self.anonymous),
            _ => identified.client(identity, pinned_server),
        }
    }

    /// Forgets an identity, if this is still its client: its sessions, and its connections as they
    /// become idle.
    pub(crate) fn forget(
        &self,
        identity: &ClientIdentity,
        pinned_server: Option<CertificatePin>,
        client: &Arc<Client>,
    ) {
        let party = Party::of(Some(identity), pinned_server);
        if let Entry::Occupied(entry) = self.identified().clients.entry(party)
            && Arc::ptr_eq(&entry.get().client, client)
        {
            entry.remove();
        }
    }

    fn identified(&self) -> MutexGuard<'_, Identified> {
        self.identified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identified {
    fn client(
        &mut self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Arc<Client> {
        self.uses += 1;
        let party = Party::of(identity, pinned_server);
        if self.clients.len() >= IDENTITIES && !self.clients.contains_key(&party) {
            let oldest = self.clients.iter().min_by_key(|(_, kept)| kept.last_use).map(|(name, _)| *name);
            oldest.and_then(|name| self.clients.remove(&name));
        }
        let kept = self.clients.entry(party).or_insert_with(|| Kept {
            identity: identity.map(ClientIdentity::downgrade),
            client: Arc::default(),
            last_use: 0,
        });
        kept.last_use = self.uses;
        Arc::clone(&kept.client)
    }
}

impl Party {
    fn of(identity: Option<&ClientIdentity>, pinned_server: Option<CertificatePin>) -> Self {
        Self { identity: identity.map(ClientIdentity::thumbprint), pinned_server }
    }
}

impl Kept {
    /// Whether somebody still holds the identity, if there is one.
    fn is_wanted(&self) -> bool {
        self.identity.as_ref().is_none_or(|identity| identity.upgrade().is_some())
    }
}

impl Client {
    /// Its TLS, made at the first use.
    pub(crate) async fn tls(
        &self,
        factory: &TlsFactory,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Result<&TlsClient, TransportError> {
        self.tls.get_or_try_init(|| factory.client(identity, pinned_server)).await
    }

    /// An idle connection, the youngest first.
    pub(crate) fn take(&self, site: &Site) -> Option<Channel> {
        self.idle().get_mut(site)?.pop_back().map(|idle| idle.channel)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, site: Site, channel: Channel, now: SystemTime) {
        let mut idle = self.idle();
        let of_site = idle.entry(site).or_default();
        if of_site.len() >= IDLE_PER_SITE {
            of_site.pop_front();
        }
        of_site.push_back(Idle { channel, since: now });
    }

    /// A clock that was set back has lost count of their age, so all count as too old.
    fn close_outlived(&self, now: SystemTime) {
        self.idle().retain(|_, of_site| {
            of_site.retain(|idle| now.duration_since(idle.since).is_ok_and(|age| age <= IDLE_LIMIT));
            !of_site.is_empty()
        });
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Site, VecDeque<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
