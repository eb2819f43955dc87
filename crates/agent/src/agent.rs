//! The agent and its builder.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use symbolon::{Context, Error, ManagedIdentity, Secret, SharedClock};
#[cfg(unix)]
use symbolon_server::SocketUsers;
use symbolon_server::{
    Listener, Metrics, ReadinessCheck, Server, ServerSettings, StatusEndpoints, StatusSettings, random_secret,
};

use crate::guard::{RequestGuard, SECRET_HEADER};
use crate::policy::Policy;
use crate::record::Record;
use crate::service::{AgentService, Observer, TOKEN_PATH};

/// The name of the server in errors.
const SERVER: &str = "the agent";

/// A running agent. Dropping it stops it at once; [`stop`](Self::stop) lets pending requests
/// finish.
pub struct Agent {
    endpoint: String,
    secret: Secret,
    server: Server,
    status: Arc<StatusEndpoints>,
    status_server: Option<Server>,
}

impl Agent {
    /// Returns a builder with the identity that clients get when they name none.
    pub fn builder(identity: ManagedIdentity) -> AgentBuilder {
        AgentBuilder {
            policy: Policy { identities: vec![identity], resources: Some(Vec::new()), over_mtls: false },
            secret: None,
            clock: SharedClock::system(),
            status: StatusSettings::default(),
            observer: Box::new(|_| {}),
        }
    }

    /// Returns the variables that point an Azure SDK at the agent: `IDENTITY_ENDPOINT`, and
    /// `IDENTITY_HEADER`, which is the secret of this run. With a Unix socket the host of the
    /// endpoint is only a placeholder.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("IDENTITY_ENDPOINT", self.endpoint.clone()), ("IDENTITY_HEADER", self.secret.expose().to_owned())]
    }

    /// Returns the address the agent listens on; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// Returns the address of the [listener for operators](AgentBuilder::status_on); `None` for a
    /// Unix socket, or without this listener.
    #[must_use]
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.status_server.as_ref().and_then(Server::address)
    }

    /// Accepts no more connections, serves the requests that arrive within a second, and returns
    /// when pending ones are answered, or after five seconds. Meanwhile, `/readyz` responds with
    /// 503.
    pub async fn stop(self) {
        self.status.set_stopping();
        self.server.stop().await;
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A builder of [`Agent`]s.
#[must_use]
pub struct AgentBuilder {
    policy: Policy,
    secret: Option<Secret>,
    clock: SharedClock,
    status: StatusSettings,
    observer: Observer,
}

impl AgentBuilder {
    /// Lets clients request this identity too, by the id it was built with. Default: only the
    /// first.
    pub fn identity(mut self, identity: ManagedIdentity) -> Self {
        self.policy.identities.push(identity);
        self
    }

    /// Adds a resource that clients may request. A final slash makes no difference. Default: none,
    /// so that an empty list permits nothing.
    pub fn allow(mut self, resource: impl Into<String>) -> Self {
        self.policy.resources.get_or_insert_default().push(resource.into());
        self
    }

    /// Lets clients request all resources. A later [`allow`](Self::allow) starts a list.
    pub fn allow_all_resources(mut self) -> Self {
        self.policy.resources = None;
        self
    }

    /// Requests the bearer tokens over mTLS, with the managed identity's certificate. Clients see
    /// no difference.
    pub fn over_mtls(mut self) -> Self {
        self.policy.over_mtls = true;
        self
    }

    /// Sets the secret, for example that of an earlier run, so that its clients can continue. It
    /// has to be as hard to guess as a random one. Default: a new one of 256 random bits.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets the context, of which the agent uses the clock. Default: the process's own.
    pub fn context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// Serves `/livez`, `/readyz` and `/metrics` on this listener as well. On a loopback address,
    /// requests with the secret of the agent get details and metrics, on a Unix socket those of
    /// this user, on another address none.
    pub fn status_on(mut self, listener: Listener) -> Self {
        self.status.listener = Some(listener);
        self
    }

    /// Sets the metrics that `/metrics` shows. They are also the observer for the context of the
    /// identities, by which they count tokens, mints and handshakes. Default: those of the
    /// server alone.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.status.metrics = metrics;
        self
    }

    /// Serves `/metrics` to everybody. Default: to clients with the secret.
    pub fn open_metrics(mut self) -> Self {
        self.status.open_metrics = true;
        self
    }

    /// Sets a callback that receives a record of every request before the response is sent.
    pub fn observer(mut self, observer: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Starts the agent on a loopback address; port 0 selects a free port. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that other machines can reach, `local_error` if
    /// binding fails.
    pub async fn listen(self, address: SocketAddr) -> Result<Agent, Error> {
        self.listen_on(Listener::tcp(SERVER, address).await?)
    }

    /// Starts the agent on a Unix socket (mode 0600). A leftover socket without a listener is
    /// replaced; the socket is removed at the end. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if the path exists and is not a socket, another process listens on
    /// it, or it is too long for a client to connect to; `local_error` if the socket cannot be
    /// created.
    #[cfg(unix)]
    pub async fn listen_unix(self, path: impl AsRef<Path>) -> Result<Agent, Error> {
        self.listen_on(Listener::unix(SERVER, path.as_ref(), SocketUsers::Own).await?)
    }

    /// Starts the agent on a listener, for example one of a service manager. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `random_unavailable` if there is no randomness for the secret.
    pub fn listen_on(self, listener: Listener) -> Result<Agent, Error> {
        let secret = self.secret.map_or_else(random_secret, Ok)?;
        let address = listener.address();
        let host = address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        let guard = RequestGuard { port: address.map(|address| address.port()), secret: secret.clone() };
        let policy = Arc::new(self.policy);
        let checks = checks(&policy);
        let settings = ServerSettings::new(self.clock.clone()).metrics(self.status.metrics.clone());
        let readers = (HeaderName::from_static(SECRET_HEADER), Some(secret.clone()));
        let (status, status_server) = self.status.start(self.clock.clone(), readers, move || checks.clone());
        let service = AgentService {
            guard,
            policy,
            status: Arc::clone(&status),
            clock: self.clock,
            observer: self.observer,
        };
        let server = Server::start(listener, Arc::new(service), settings);
        Ok(Agent { endpoint: format!("http://{host}{TOKEN_PATH}"), secret, server, status, status_server })
    }
}

/// Returns a check of each identity and each resource on the list.
fn checks(policy: &Arc<Policy>) -> Vec<Arc<ReadinessCheck>> {
    let resources = policy.resources.iter().flatten();
    let pairs =
        resources.flat_map(|resource| (0..policy.identities.len()).map(move |index| (index, resource)));
    let check = |(index, resource): (usize, &String)| {
        let (policy, resource) = (Arc::clone(policy), resource.clone());
        let name = policy.identities[index].id().qualified();
        ReadinessCheck::new(name, resource.clone(), move || {
            let (policy, resource) = (Arc::clone(&policy), resource.clone());
            Box::pin(
                async move { Ok(policy.token(&policy.identities[index], &resource).await?.expires_on()) },
            )
        })
    };
    pairs.map(check).collect()
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}
