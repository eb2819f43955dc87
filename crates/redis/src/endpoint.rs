//! Servers and connections to them.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, TlsCertificates, Value, cmd,
    from_redis_value,
};
use url::Url;

/// The servers of a store.
pub(crate) enum Endpoint {
    Server(Client),
    Cluster(Box<ClusterClient>),
    Sentinels(Sentinels),
}

/// The sentinels that name the primary of a group of servers.
pub(crate) struct Sentinels {
    pub(crate) sentinels: Vec<Client>,
    pub(crate) group: String,
    /// The URL of the primary, with a host and port that are replaced.
    pub(crate) primary: Url,
    pub(crate) certificates: Option<TlsCertificates>,
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub(crate) enum Link {
    Server(MultiplexedConnection, Box<Client>),
    Cluster(ClusterConnection),
}

impl Endpoint {
    pub(crate) async fn connect(&self, timeout: Duration) -> RedisResult<Link> {
        match self {
            Self::Server(client) => connect(client, timeout).await,
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
            Self::Sentinels(sentinels) => sentinels.connect(timeout).await,
        }
    }
}

impl Sentinels {
    /// Connects to the primary that the first sentinel names which responds.
    async fn connect(&self, timeout: Duration) -> RedisResult<Link> {
        let mut last = RedisError::from((ErrorKind::EmptySentinelList, "there are no sentinels"));
        // One sentinel that does not respond leaves time for the others.
        let timeout = timeout / 3;
        for sentinel in &self.sentinels {
            match self.connect_by(sentinel, timeout).await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_by(&self, sentinel: &Client, timeout: Duration) -> RedisResult<Link> {
        let mut sentinel = connect(sentinel, timeout).await?;
        let mut query = cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.group);
        let address: Option<(String, u16)> = from_redis_value(sentinel.send(&query).await?)?;
        let unknown =
            || RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "the group has no primary"));
        let (host, port) = address.ok_or_else(unknown)?;
        let mut primary = self.primary.clone();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        primary
            .set_host(Some(&host))
            .ok()
            .and_then(|()| primary.set_port(Some(port)).ok())
            .ok_or_else(unknown)?;
        let client = client(&primary, self.certificates.as_ref())?;
        let mut primary = connect(&client, timeout).await?;
        // A sentinel can be late; a demoted server would refuse every write.
        let role: Vec<Value> = from_redis_value(primary.send(&cmd("ROLE")).await?)?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(primary),
            _ => Err(unknown()),
        }
    }
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

/// Returns the client of one server.
pub(crate) fn client(url: &Url, certificates: Option<&TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) if url.scheme() == "rediss" => {
            Client::build_with_tls(url.as_str(), certificates.clone())
        }
        _ => Client::open(url.as_str()),
    }
}

async fn connect(client: &Client, timeout: Duration) -> RedisResult<Link> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Link::Server(connection, Box::new(client.clone())))
}
