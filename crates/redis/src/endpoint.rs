//! Servers and connections to them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo as _, RedisError, RedisResult,
    TlsCertificates, Value, cmd, from_redis_value,
};
use symbolon_types::Secret;
use url::Url;

/// A function that returns the present password.
pub(crate) type PasswordSource = Arc<dyn Fn() -> Secret + Send + Sync>;

/// The number of times that a command is sent to a cluster that moves its slots.
const CLUSTER_RETRIES: u32 = 3;

/// The servers of a store, and the settings of connections to them.
pub(crate) struct Endpoint {
    pub(crate) servers: ServerUrls,
    pub(crate) certificates: Option<TlsCertificates>,
    /// Replaces the password in the URLs.
    pub(crate) password: Option<PasswordSource>,
    /// The time limit of a command to a cluster.
    pub(crate) timeout: Duration,
}

/// The servers, by URLs with user and password.
pub(crate) enum ServerUrls {
    One(Url),
    Cluster(Vec<Url>),
    Sentinels(Sentinels),
}

/// The sentinels that name the primary of a group of servers.
pub(crate) struct Sentinels {
    pub(crate) urls: Vec<Url>,
    pub(crate) group: String,
    /// The URL of the primary, with a host and port that are replaced.
    pub(crate) primary: Url,
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub(crate) enum Link {
    Server(MultiplexedConnection, Box<Client>),
    Cluster(ClusterConnection),
}

impl Endpoint {
    /// Validates the URLs and certificates.
    pub(crate) fn check(&self) -> RedisResult<()> {
        match &self.servers {
            ServerUrls::One(url) => self.client(url).map(drop),
            ServerUrls::Cluster(urls) => self.cluster_client(urls).map(drop),
            ServerUrls::Sentinels(Sentinels { urls, primary, .. }) => {
                urls.iter().chain([primary]).try_for_each(|url| self.client(url).map(drop))
            }
        }
    }

    /// Opens a connection, with the present password.
    pub(crate) async fn connect(&self, timeout: Duration) -> RedisResult<Link> {
        match &self.servers {
            ServerUrls::One(url) => connect(&self.client(&self.with_password(url))?, timeout).await,
            ServerUrls::Cluster(urls) => {
                let urls: Vec<_> = urls.iter().map(|url| self.with_password(url).into_owned()).collect();
                self.cluster_client(&urls)?.get_async_connection().await.map(Link::Cluster)
            }
            ServerUrls::Sentinels(sentinels) => self.connect_to_primary(sentinels, timeout).await,
        }
    }

    /// Connects to the primary that the first sentinel names which responds.
    async fn connect_to_primary(&self, sentinels: &Sentinels, timeout: Duration) -> RedisResult<Link> {
        let mut last = RedisError::from((ErrorKind::EmptySentinelList, "there are no sentinels"));
        // One sentinel that does not respond leaves time for the others.
        let timeout = timeout / 3;
        for url in &sentinels.urls {
            match self.connect_by(url, sentinels, timeout).await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_by(&self, url: &Url, sentinels: &Sentinels, timeout: Duration) -> RedisResult<Link> {
        let mut sentinel = connect(&self.client(url)?, timeout).await?;
        let mut query = cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinels.group);
        let address: Option<(String, u16)> = from_redis_value(sentinel.send(&query).await?)?;
        let unknown =
            || RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "the group has no primary"));
        let (host, port) = address.ok_or_else(unknown)?;
        let mut primary = self.with_password(&sentinels.primary).into_owned();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        primary
            .set_host(Some(&host))
            .ok()
            .and_then(|()| primary.set_port(Some(port)).ok())
            .ok_or_else(unknown)?;
        let mut primary = connect(&self.client(&primary)?, timeout).await?;
        // A sentinel can be late; a demoted server would refuse every write.
        let role: Vec<Value> = from_redis_value(primary.send(&cmd("ROLE")).await?)?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(primary),
            _ => Err(unknown()),
        }
    }

    fn with_password<'a>(&self, url: &'a Url) -> Cow<'a, Url> {
        let Some(password) = &self.password else { return Cow::Borrowed(url) };
        let mut url = url.clone();
        // It fails for a URL without a host only, with which no store is built.
        let _set = url.set_password(Some(password().expose()));
        Cow::Owned(url)
    }

    /// Returns the client of one server.
    fn client(&self, url: &Url) -> RedisResult<Client> {
        let info = url.as_str().into_connection_info()?;
        // The name of the library would cost each connection a wait for a reply, which restricted
        // users do not get and older servers do not support.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
        match &self.certificates {
            Some(certificates) if has_tls(url) => Client::build_with_tls(info, certificates.clone()),
            _ => Client::open(info),
        }
    }

    fn cluster_client(&self, urls: &[Url]) -> RedisResult<ClusterClient> {
        let builder = ClusterClient::builder(urls.iter().map(Url::as_str))
            .connection_timeout(self.timeout)
            .response_timeout(self.timeout)
            .retries(CLUSTER_RETRIES);
        match &self.certificates {
            Some(certificates) if urls.iter().all(has_tls) => builder.certs(certificates.clone()).build(),
            _ => builder.build(),
        }
    }
}

pub(crate) fn has_tls(url: &Url) -> bool {
    url.scheme() == "rediss"
}

impl Link {
    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let reply = match self {
            Self::Server(connection, _) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        reply?.extract_error()
    }

    /// Subscribes to a channel, on a connection of its own. Returns `None` for a cluster.
    pub(crate) async fn subscribe(&self, channel: &str) -> Option<RedisResult<PubSub>> {
        let Self::Server(_, client) = self else { return None };
        let subscribe = async {
            let mut connection = client.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            Ok(connection)
        };
        Some(subscribe.await)
    }
}

async fn connect(client: &Client, timeout: Duration) -> RedisResult<Link> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Link::Server(connection, Box::new(client.clone())))
}
