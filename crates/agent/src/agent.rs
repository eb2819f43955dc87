//! The agent: what it is made of, where it listens, how it ends.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use symbolon::{Context, Error, ErrorKind, ManagedIdentity, Secret, SharedClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Record;
use crate::gate::Gate;
use crate::listener::Listener;
#[cfg(unix)]
use crate::listener::SocketFile;
use crate::policy::Policy;
use crate::serve::{Desk, serve};

/// Where App Service has its endpoint, under a host and port of its own.
pub(crate) const PATH: &str = "/msi/token";

/// A running agent. Dropping it ends it at once, [`stop`](Self::stop) lets it finish what it does.
pub struct Agent {
    endpoint: String,
    secret: Secret,
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Removed when the agent is dropped.
    #[cfg(unix)]
    socket: Option<SocketFile>,
}

impl Agent {
    /// Starts with the identity whose tokens clients get when they name none.
    #[must_use]
    pub fn builder(identity: ManagedIdentity) -> AgentBuilder {
        AgentBuilder {
            policy: Policy { identities: vec![identity], resources: Vec::new(), over_mtls: false },
            clock: SharedClock::system(),
            observer: Box::new(|_| {}),
        }
    }

    /// The variables by which an Azure SDK finds the agent: `IDENTITY_ENDPOINT`, and `IDENTITY_HEADER`, which is the
    /// secret of this run. Behind a Unix socket the host in the endpoint means nothing.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("IDENTITY_ENDPOINT", self.endpoint.clone()), ("IDENTITY_HEADER", self.secret.expose().to_owned())]
    }

    /// Where it listens; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more requests, and returns when those that it has are answered, or after five seconds.
    pub async fn stop(mut self) {
        // The receiver is gone if serving has ended, which is what is wanted.
        let _ended = self.stop.send(true);
        // An error is a panic of the task, which ends it as well.
        let _ended = (&mut self.serving).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
        #[cfg(unix)]
        drop(self.socket.take());
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What is told of every request.
pub(crate) type Observer = Box<dyn Fn(&Record) + Send + Sync>;

/// What an [`Agent`] is made of.
pub struct AgentBuilder {
    policy: Policy,
    clock: SharedClock,
    observer: Observer,
}

impl AgentBuilder {
    /// Lets clients ask for this identity too, by the id that it was built with. Default: for none but the
    /// first.
    #[must_use]
    pub fn identity(mut self, identity: ManagedIdentity) -> Self {
        self.policy.identities.push(identity);
        self
    }

    /// Lets clients ask for tokens for this resource; may be called again. A slash at its end makes no difference.
    /// Default: for all.
    #[must_use]
    pub fn allow(mut self, resource: impl Into<String>) -> Self {
        self.policy.resources.push(resource.into());
        self
    }

    /// Gets the tokens over mTLS, with the certificate that bound tokens are got with. Clients see no difference.
    #[must_use]
    pub fn over_mtls(mut self) -> Self {
        self.policy.over_mtls = true;
        self
    }

    /// Sets the clock. Default: the process's own.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// Tells what became of every request, for a log. Called before the answer is sent.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Listens on a loopback address; with port 0 on any that is free. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that other machines reach, `local_error` if it is taken.
    pub async fn listen(self, address: SocketAddr) -> Result<Agent, Error> {
        let (listener, address) = Listener::tcp(address).await?;
        self.start(listener, Some(address))
    }

    /// Listens on a Unix socket (mode 0600). A socket there on which nobody answers is replaced; the socket is removed
    /// at the end. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if something else is there or somebody answers, `local_error` if the
    /// socket cannot be made.
    #[cfg(unix)]
    pub async fn listen_unix(self, path: impl AsRef<Path>) -> Result<Agent, Error> {
        let (listener, socket) = Listener::unix(path.as_ref()).await?;
        let mut agent = self.start(listener, None)?;
        agent.socket = Some(socket);
        Ok(agent)
    }

    fn start(self, listener: Listener, address: Option<SocketAddr>) -> Result<Agent, Error> {
        let secret = secret()?;
        let host = address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        let gate = Gate { port: address.map(|address| address.port()), secret: secret.clone() };
        let (stop, stopped) = watch::channel(false);
        let desk = Desk { gate, policy: self.policy, clock: self.clock, observer: self.observer };
        let serving = tokio::spawn(serve(listener, Arc::new(desk), stopped));
        Ok(Agent {
            endpoint: format!("http://{host}{PATH}"),
            secret,
            address,
            stop,
            serving,
            #[cfg(unix)]
            socket: None,
        })
    }
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// 256 bits of the operating system's randomness.
fn secret() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        let what = "the operating system has no randomness for the agent's secret";
        Error::new(ErrorKind::Environment, "random_unavailable", what).with_source(error)
    })?;
    Ok(Secret::new(Base64UrlUnpadded::encode_string(&bytes)))
}
