//! The agent and its builder.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use symbolon::{Context, Error, ManagedIdentity, Secret, SharedClock};
#[cfg(unix)]
use symbolon_server::SocketUsers;
use symbolon_server::{Listener, Server, ServerSettings, random_secret};

use crate::guard::RequestGuard;
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
}

impl Agent {
    /// Returns a builder with the identity that clients get when they name none.
    pub fn builder(identity: ManagedIdentity) -> AgentBuilder {
        AgentBuilder {
            policy: Policy { identities: vec![identity], resources: Some(Vec::new()), over_mtls: false },
            secret: None,
            clock: SharedClock::system(),
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

    /// Accepts no more connections, serves the requests that arrive within a second, and returns
    /// when pending ones are answered, or after five seconds.
    pub async fn stop(self) {
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
        self.start(Listener::tcp(SERVER, address).await?)
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
        self.start(Listener::unix(SERVER, path.as_ref(), SocketUsers::Own).await?)
    }

    fn start(self, listener: Listener) -> Result<Agent, Error> {
        let secret = self.secret.map_or_else(random_secret, Ok)?;
        let address = listener.address();
        let host = address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        let guard = RequestGuard { port: address.map(|address| address.port()), secret: secret.clone() };
        let settings = ServerSettings::new(self.clock.clone());
        let service = AgentService { guard, policy: self.policy, clock: self.clock, observer: self.observer };
        let server = Server::start(listener, Arc::new(service), settings);
        Ok(Agent { endpoint: format!("http://{host}{TOKEN_PATH}"), secret, server })
    }
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}
