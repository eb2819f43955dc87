//! The clients of reqwest, one for each certificate.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::redirect::Policy;
use symbolon_rustls::{ClientConfigs, IdentityMap};
use symbolon_transport::{TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, ServerAuth};
use tokio::runtime::{Handle, Id};
use tokio::sync::OnceCell;

use crate::connector::{ConnectionCheck, ConnectionLayer};
use crate::failure::not_configured;
use crate::observation::ConnectionObserver;
use crate::resolver::LocalAddresses;

/// Clients that an identity has: a few runtimes with a few routes each.
const CLIENTS: usize = 32;

/// The way of a request, on which the settings of its client depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientRoute {
    /// With the proxies of the settings.
    Public,
    /// Without a proxy.
    Local,
    /// Without a proxy, to local addresses only.
    LocalWithoutTls,
}

/// The clients of reqwest, one for each client certificate, server authentication, route and
/// runtime.
///
/// A client is dropped with its identity: requests under way end on its connections.
#[derive(Clone)]
pub(crate) struct ReqwestClients {
    settings: ClientSettings,
    identities: Arc<Mutex<IdentityMap<Arc<IdentityClients>>>>,
}

/// The settings of all clients.
#[derive(Clone)]
struct ClientSettings {
    configs: ClientConfigs,
    builder: Arc<dyn Fn() -> reqwest::ClientBuilder + Send + Sync>,
    /// In the order of preference.
    protocols: &'static [&'static str],
    observer: ConnectionObserver,
}

/// The clients of one identity and server authentication.
#[derive(Debug, Default)]
struct IdentityClients(Mutex<HashMap<(ClientRoute, Id), ClientCell>>);

/// A client that is built once.
type ClientCell = Arc<OnceCell<reqwest::Client>>;

impl ReqwestClients {
    pub(crate) fn new(
        configs: ClientConfigs,
        settings: impl Fn() -> reqwest::ClientBuilder + Send + Sync + 'static,
        protocols: &'static [&'static str],
    ) -> Self {
        let (builder, observer) = (Arc::new(settings), ConnectionObserver::of(&Context::default()));
        let settings = ClientSettings { configs, builder, protocols, observer };
        Self { settings, identities: Arc::default() }
    }

    /// Returns other clients with the same settings, and with these application protocols.
    pub(crate) fn with_protocols(&self, protocols: &'static [&'static str]) -> Self {
        let settings = ClientSettings { protocols, ..self.settings.clone() };
        Self { settings, identities: Arc::default() }
    }

    /// Returns other clients with the same settings, whose connections are reported to the observer
    /// of a context.
    pub(crate) fn observed_by(&self, context: &Context) -> Self {
        let observer = ConnectionObserver::of(context);
        Self { settings: ClientSettings { observer, ..self.settings.clone() }, identities: Arc::default() }
    }

    /// Returns the client that presents an identity, if one is given.
    pub(crate) async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        route: ClientRoute,
    ) -> Result<reqwest::Client, TransportError> {
        let unsupported = |error| TransportError::new(TransportErrorKind::Unsupported).with_source(error);
        let runtime = Handle::try_current().map_err(unsupported)?.id();
        let cell = self.identity(identity, server).cell(route, runtime);
        let client = cell.get_or_try_init(|| self.build(identity, server, route)).await?;
        Ok(client.clone())
    }

    fn identity(&self, identity: Option<&ClientIdentity>, server: &ServerAuth) -> Arc<IdentityClients> {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.drop_unowned();
        Arc::clone(identities.get_or_insert_with(identity, server, Arc::default))
    }

    async fn build(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        route: ClientRoute,
    ) -> Result<reqwest::Client, TransportError> {
        let tls = self.settings.configs.client(identity, server).await.map_err(not_configured)?;
        let mut config = tls.recorded_config();
        config.alpn_protocols = self.settings.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let check = match identity {
            Some(_) => ConnectionCheck::IdentityPresented,
            None => ConnectionCheck::Any,
        };
        let builder = (self.settings.builder)()
            .tls_backend_preconfigured(config)
            .redirect(Policy::none())
            .connector_layer(ConnectionLayer { check, observer: self.settings.observer.clone() });
        let builder = match route {
            ClientRoute::Public => builder,
            ClientRoute::Local => builder.no_proxy(),
            ClientRoute::LocalWithoutTls => builder.no_proxy().dns_resolver(LocalAddresses),
        };
        tracing::debug!(has_identity = identity.is_some(), ?route, "a client of reqwest was made");
        builder
            .build()
            .map_err(|error| TransportError::new(TransportErrorKind::Unsupported).with_source(error))
    }
}

impl IdentityClients {
    fn cell(&self, route: ClientRoute, runtime: Id) -> ClientCell {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route, runtime);
        // Runtimes that have ended leave their clients behind.
        if clients.len() >= CLIENTS && !clients.contains_key(&key) {
            clients.clear();
        }
        Arc::clone(clients.entry(key).or_default())
    }
}

impl fmt::Debug for ReqwestClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClients").field("configs", &self.settings.configs).finish_non_exhaustive()
    }
}
