//! The proxy and its builder.

use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use symbolon_server::SocketUsers;
use symbolon_server::{
    Listener, Metrics, Server, ServerSettings, StatusEndpoints, StatusSettings, random_secret,
};
use symbolon_types::{Context, Error, ErrorKind, Secret, SharedClock};

use crate::access::Access;
use crate::headers::SECRET_HEADER;
use crate::record::ProxyRecord;
use crate::route::{Route, RouteTable};
use crate::service::{CurrentState, Observer, ProxyService, ProxyState};

/// The name of the server in errors.
const SERVER: &str = "the proxy";
/// Maximum number of connections; the limit of open files is mostly lower.
const MAX_CONNECTIONS: usize = 65_536;
/// Maximum time between the requests of a connection: longer than most pools of clients keep one.
const IDLE_TIME: Duration = Duration::from_secs(300);
/// Maximum size of the buffers of a connection, and of the head of a request.
const BUFFER_SIZE: usize = 128 * 1024;
/// Maximum number of header fields.
const MAX_HEADERS: usize = 200;
/// Time that pending requests get when the proxy stops: less than Kubernetes grants by default.
const GRACE_PERIOD: Duration = Duration::from_secs(25);

/// A running proxy. Dropping it stops it at once; [`stop`](Self::stop) lets pending requests
/// finish.
pub struct Proxy {
    state: CurrentState,
    /// `None` on a Unix socket.
    secret: Option<Secret>,
    /// False for a Unix socket that only the own user can open.
    is_open_to_users: bool,
    server: Server,
    status: Arc<StatusEndpoints>,
    status_server: Option<Server>,
}

impl Proxy {
    /// Returns a builder without routes.
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder {
            routes: Vec::new(),
            users: Vec::new(),
            secret: None,
            clock: SharedClock::system(),
            grace_period: GRACE_PERIOD,
            status: StatusSettings::default(),
            observer: Box::new(|_| {}),
        }
    }

    /// Returns the address the proxy listens on; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// Returns the address of the [listener for operators](ProxyBuilder::status_on); `None` for a
    /// Unix socket, or without this listener.
    #[must_use]
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.status_server.as_ref().and_then(Server::address)
    }

    /// Returns the secret of this run, which requests to the address need; `None` for a Unix
    /// socket.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Replaces the routes, and on a Unix socket the [users](ProxyBuilder::allow_user) in addition
    /// to this one. Requests under way end as they began.
    ///
    /// # Errors
    /// `invalid_configuration` as with the builder, or for users of a Unix socket that was created
    /// for the own user only. The proxy then continues as before.
    pub fn reload(&self, routes: Vec<Route>, users: Vec<u32>) -> Result<(), Error> {
        let routes = RouteTable::new(routes)?;
        if !users.is_empty() && !self.is_open_to_users {
            let message = "the proxy was started for its own user only, so no other one can open its socket";
            return Err(Error::new(ErrorKind::Request, "invalid_configuration", message)
                .with_advice("restart the proxy to allow other users"));
        }
        let access = match &self.state.get().access {
            Access::Secret { secret, port } => Access::Secret { secret: secret.clone(), port: *port },
            Access::Users(_) => Access::Users(with_own_user(users)),
        };
        self.state.replace(ProxyState { access, routes });
        Ok(())
    }

    /// Accepts no more connections, serves the requests that arrive within a second, and returns
    /// when pending ones are answered, or after the [grace period](ProxyBuilder::grace_period).
    /// Meanwhile, `/readyz` responds with 503.
    pub async fn stop(self) {
        self.status.set_stopping();
        self.server.stop().await;
    }
}

symbolon_types::debug_fields!(Proxy |this| address: this.address());

/// A builder of a [`Proxy`].
#[must_use]
pub struct ProxyBuilder {
    routes: Vec<Route>,
    users: Vec<u32>,
    secret: Option<Secret>,
    clock: SharedClock,
    grace_period: Duration,
    status: StatusSettings,
    observer: Observer,
}

impl ProxyBuilder {
    /// Adds a route.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds a user whose processes may use the Unix socket, in addition to the user of the proxy.
    /// The folder of the socket must be open to this user.
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.users.push(uid);
        self
    }

    /// Sets the secret for clients of an address, for example that of an earlier run, so that they
    /// can continue. It has to be as hard to guess as a random one. Default: a new one of 256
    /// random bits.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets the context, of which the proxy uses the clock. Default: the process's own.
    pub fn context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// Sets the time that pending requests get when the proxy stops. Default: 25 seconds.
    pub fn grace_period(mut self, limit: Duration) -> Self {
        self.grace_period = limit;
        self
    }

    /// Serves `/livez`, `/readyz` and `/metrics` on this listener. The paths of the proxy are those
    /// of its resources. On a loopback address, requests with the secret of the run get details and
    /// metrics, on a Unix socket those of this user, on another address none.
    pub fn status_on(mut self, listener: Listener) -> Self {
        self.status.listener = Some(listener);
        self
    }

    /// Sets the metrics that `/metrics` shows. They are also the observer for the context of the
    /// clients of the routes, by which they count tokens, mints and handshakes. Default: those of
    /// the server alone.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.status.metrics = metrics;
        self
    }

    /// Serves `/metrics` to everybody. Default: to clients with the secret.
    pub fn open_metrics(mut self) -> Self {
        self.status.open_metrics = true;
        self
    }

    /// Sets a callback that receives a record of every request that gets an error of the proxy,
    /// before the response is sent.
    pub fn observer(mut self, observer: impl Fn(&ProxyRecord) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Starts the proxy on a loopback address; port 0 selects a free port. Requests need the secret
    /// of the run. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that other machines can reach, without a route, or
    /// with two of the same path; `local_error` if binding fails.
    pub async fn listen(self, address: SocketAddr) -> Result<Proxy, Error> {
        self.listen_on(Listener::tcp(SERVER, address).await?)
    }

    /// Starts the proxy on a listener, for example one of a service manager. On a Unix socket,
    /// which the service manager may have opened to other users, the user of each connection is
    /// checked. Needs a Tokio runtime.
    ///
    /// # Errors
    /// As with [`listen`](Self::listen).
    pub fn listen_on(self, listener: Listener) -> Result<Proxy, Error> {
        let Some(address) = listener.address() else {
            let access = Access::Users(with_own_user(self.users.clone()));
            return self.start(listener, access, None, true);
        };
        let secret = self.secret.clone().map_or_else(random_secret, Ok)?;
        let access = Access::Secret { secret: secret.clone(), port: address.port() };
        self.start(listener, access, Some(secret), true)
    }

    /// Starts the proxy on a Unix socket. Requests need no secret: processes of the user of the
    /// proxy may use it, and those of the [users that are allowed](Self::allow_user). A leftover
    /// socket without a listener is replaced; the socket is removed at the end. Needs a Tokio
    /// runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if the path exists and is not a socket, another process listens on
    /// it, or it is too long for a client to connect to, and as with [`listen`](Self::listen);
    /// `local_error` if the socket cannot be created.
    #[cfg(unix)]
    pub async fn listen_unix(self, path: impl AsRef<Path>) -> Result<Proxy, Error> {
        let users = if self.users.is_empty() { SocketUsers::Own } else { SocketUsers::All };
        let listener = Listener::unix(SERVER, path.as_ref(), users).await?;
        let access = Access::Users(with_own_user(self.users.clone()));
        let is_open_to_users = !self.users.is_empty();
        self.start(listener, access, None, is_open_to_users)
    }

    fn start(
        self,
        listener: Listener,
        access: Access,
        secret: Option<Secret>,
        is_open_to_users: bool,
    ) -> Result<Proxy, Error> {
        let settings = ServerSettings::new(self.clock.clone())
            .max_connections(MAX_CONNECTIONS)
            .idle_time(IDLE_TIME)
            .max_head(BUFFER_SIZE, MAX_HEADERS)
            .grace_period(self.grace_period)
            .end_with_client()
            .metrics(self.status.metrics.clone());
        let state = ProxyState { access, routes: RouteTable::new(self.routes)? };
        let state = CurrentState::new(state);
        let checked = state.clone();
        let checks = move || checked.get().routes.checks();
        let readers = (SECRET_HEADER, secret.clone());
        let (status, status_server) = self.status.start(self.clock, readers, checks);
        let service =
            ProxyService { state: state.clone(), status: Arc::clone(&status), observer: self.observer };
        let server = Server::start(listener, Arc::new(service), settings);
        Ok(Proxy { state, secret, is_open_to_users, server, status, status_server })
    }
}

symbolon_types::debug_fields!(ProxyBuilder: routes, users);

/// Adds the user of this process.
fn with_own_user(mut users: Vec<u32>) -> Vec<u32> {
    #[cfg(unix)]
    users.push(rustix::process::geteuid().as_raw());
    users
}
