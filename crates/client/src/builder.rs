//! The builder of a client.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use symbolon_hyper::Connections;
use symbolon_transport::{SharedTransport, Transport};
use symbolon_types::{Context, Error, ErrorKind};

use crate::body::BodyLimits;
use crate::client::Client;
use crate::connections::HttpConnections;
use crate::destination::{AllowedHosts, resource_host};
use crate::fallback::{BearerFallback, FallbackMemory};
use crate::late_certificate::LateCertificatePolicy;
use crate::provider::{ErasedProvider, TokenProvider};
use crate::settings::ClientSettings;
use crate::transport_connections::TransportConnections;

const DEADLINE: Duration = Duration::from_secs(60);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const REPLAY_LIMIT: usize = 64 * 1024;

/// Makes the connections, with the context of the client.
type MakeConnections<C> = Box<dyn FnOnce(&Context) -> Result<C, Error> + Send + Sync>;

/// A builder of [`Client`]; see [`Client::builder`].
#[must_use]
pub struct ClientBuilder<C = Connections> {
    provider: Arc<dyn ErasedProvider>,
    resource: String,
    proof_of_possession: bool,
    fallback: BearerFallback,
    make_connections: MakeConnections<C>,
    context: Context,
    deadline: Duration,
    body_limits: BodyLimits,
    replay_limit: usize,
    retries: u32,
    headers: Result<HeaderMap, Error>,
    late_certificate: LateCertificatePolicy,
    allowed_hosts: AllowedHosts,
}

// Hides the headers.
symbolon_types::debug_fields!(ClientBuilder<C>: provider, resource, proof_of_possession, fallback);

impl Client {
    /// Returns a builder of a client that calls a resource, such as `https://vault.azure.net`, with
    /// tokens of this provider. For [`UserTokens`](crate::UserTokens), `resource` is a list of
    /// scopes.
    pub fn builder(provider: impl TokenProvider, resource: impl Into<String>) -> ClientBuilder {
        let context = provider.context();
        ClientBuilder {
            provider: Arc::new(provider),
            resource: resource.into(),
            proof_of_possession: false,
            fallback: BearerFallback::Never,
            make_connections: Box::new(connections_of),
            context,
            deadline: DEADLINE,
            body_limits: BodyLimits { read_timeout: Some(READ_TIMEOUT), size: None },
            replay_limit: REPLAY_LIMIT,
            retries: 0,
            headers: Ok(HeaderMap::new()),
            late_certificate: LateCertificatePolicy::default(),
            allowed_hosts: AllowedHosts::default(),
        }
    }
}

impl<C: HttpConnections> ClientBuilder<C> {
    /// Uses tokens that are bound to a certificate, on connections that present it. Default: bearer
    /// tokens.
    pub fn proof_of_possession(mut self) -> Self {
        self.proof_of_possession = true;
        self
    }

    /// Sets the policy for a resource that takes no bound tokens. Default:
    /// [`BearerFallback::Never`].
    pub fn bearer_fallback(mut self, policy: BearerFallback) -> Self {
        self.fallback = policy;
        self
    }

    /// Sets the connections, with their TLS settings and their limits. Several clients can share
    /// them. Default: [`Connections`] of this client, with the variables of its context. The crate
    /// `symbolon-reqwest` has connections of reqwest.
    pub fn connections<D: HttpConnections>(self, connections: D) -> ClientBuilder<D> {
        ClientBuilder {
            provider: self.provider,
            resource: self.resource,
            proof_of_possession: self.proof_of_possession,
            fallback: self.fallback,
            make_connections: Box::new(|_| Ok(connections)),
            context: self.context,
            deadline: self.deadline,
            body_limits: self.body_limits,
            replay_limit: self.replay_limit,
            retries: self.retries,
            headers: self.headers,
            late_certificate: self.late_certificate,
            allowed_hosts: self.allowed_hosts,
        }
    }

    /// Sends requests over a transport, in place of connections: with whole bodies, of the sizes
    /// that the transport permits. It sends a request whose connection is lost once more by itself.
    pub fn transport(self, transport: impl Transport) -> ClientBuilder<TransportConnections> {
        self.connections(TransportConnections(SharedTransport::new(transport)))
    }

    /// Sets environment variables, clock, randomness and the scale of retry delays. Default: those
    /// of the provider.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Limits the time of connection, TLS handshake and head of the response. It begins anew with
    /// each frame of the request body, and each time that the request is sent again; the time for a
    /// token is limited by its provider. Default: one minute.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Limits the wait for each frame of the response body. Default: one minute.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.body_limits.read_timeout = Some(limit);
        self
    }

    /// Waits for each frame of the response body as long as the connection lasts, for bodies that
    /// pause, such as streams of events.
    pub fn no_read_timeout(mut self) -> Self {
        self.body_limits.read_timeout = None;
        self
    }

    /// Limits the size of response bodies, in bytes. Default: no limit for streams;
    /// [`ClientResponse`](crate::ClientResponse) has a limit of its own for whole bodies.
    pub fn max_response_size(mut self, limit: u64) -> Self {
        self.body_limits.size = Some(limit);
        self
    }

    /// Sets the size up to which a request body is kept, so that the request can be sent again:
    /// with another token, or after its connection was lost. Default: 64 KiB.
    pub fn replay_limit(mut self, limit: usize) -> Self {
        self.replay_limit = limit;
        self
    }

    /// Sets the number of retries after 408, 429 and 5xx. A request is retried only if its method
    /// is idempotent and its body can be replayed. The delays are one second, doubled each time,
    /// or `Retry-After`, if that is at most a minute. Default: none.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Adds a header to each request that does not have it, such as `x-ms-tokenboundauth` or
    /// `x-client-sku`.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers = self.headers.and_then(|mut headers| {
            let name = name.try_into().map_err(|error| invalid_header(error.into()))?;
            headers.append(name, value.try_into().map_err(|error| invalid_header(error.into()))?);
            Ok(headers)
        });
        self
    }

    /// Sets whether the resource may request the certificate of a bound token after it has received
    /// the request, and sends `x-ms-tokenboundauth: true` with such tokens. Default: for Azure Key
    /// Vault, and for requests that have this header (`docs/guide/key-vault.md`).
    ///
    /// This needs [connections](Self::connections) that renegotiate, those of `symbolon-openssl`.
    /// Others require the certificate to be requested in the handshake, and send nothing otherwise.
    /// With `true`, [`build`](Self::build) refuses them.
    pub fn late_client_certificate(mut self, permitted: bool) -> Self {
        self.late_certificate = match permitted {
            true => LateCertificatePolicy::Always,
            false => LateCertificatePolicy::Never,
        };
        self
    }

    /// Refuses requests to hosts other than these and their subdomains, so that no token is sent to
    /// another host. Default: all hosts are allowed, and the first request to a host outside of the
    /// resource's is logged as a warning.
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_hosts = AllowedHosts::only(hosts);
        self
    }

    /// Leaves out the warning for a host outside of the resource's, for a caller that selects the
    /// resource by the host, such as a client of the Azure SDK. Hosts that were
    /// [listed](Self::allowed_hosts) stay the only ones.
    pub fn any_host(mut self) -> Self {
        if let AllowedHosts::Unspecified = self.allowed_hosts {
            self.allowed_hosts = AllowedHosts::Any;
        }
        self
    }

    /// Builds the client. Sends nothing and needs no runtime.
    ///
    /// # Errors
    /// `invalid_configuration` if a header or an allowed host is invalid, or if the connections
    /// cannot be built from the environment; `transport_unsupported` if they cannot present the
    /// certificate [late](Self::late_client_certificate).
    pub fn build(self) -> Result<Client<C>, Error> {
        let headers = self.headers?;
        if headers.contains_key(AUTHORIZATION) {
            return Err(invalid("a client cannot have an Authorization header of its own")
                .with_advice("remove the header: each request has that of its token"));
        }
        if let Some(host) = self.allowed_hosts.invalid() {
            return Err(invalid(format!("the allowed host {host:?} is not a host name"))
                .with_advice("use names without scheme, port and path, such as vault.azure.net"));
        }
        let connections = (self.make_connections)(&self.context)?;
        if self.late_certificate == LateCertificatePolicy::Always && !connections.renegotiates() {
            let error = "the connections of this client cannot present a certificate after the TLS handshake, as \
                         `late_client_certificate` requires";
            return Err(Error::new(ErrorKind::Request, "transport_unsupported", error).with_advice(
                "use connections or a transport with the `OpensslBackend` of the crate symbolon-openssl",
            ));
        }
        let late_certificate = self.late_certificate.of_resource(&self.resource);
        Ok(Client(Arc::new(ClientSettings {
            provider: self.provider,
            resource_host: resource_host(&self.resource),
            resource: self.resource,
            proof_of_possession: self.proof_of_possession,
            fallback: self.fallback,
            fallback_memory: FallbackMemory::default(),
            connections,
            context: self.context,
            deadline: self.deadline,
            body_limits: self.body_limits,
            replay_limit: self.replay_limit,
            retries: self.retries,
            headers,
            late_certificate,
            allowed_hosts: self.allowed_hosts,
            has_warned: AtomicBool::new(false),
            latest_identity: Mutex::default(),
        })))
    }
}

/// Returns connections with the variables of a context.
fn connections_of(context: &Context) -> Result<Connections, Error> {
    Connections::builder().context(context.clone()).build().map_err(|error| {
        invalid("the HTTP connections could not be set up")
            .with_advice("check the environment variables for proxies and root certificates")
            .with_source(error)
    })
}

fn invalid(summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", summary)
}

fn invalid_header(error: http::Error) -> Error {
    invalid("a header of the client is invalid")
        .with_advice("use a token as the name and visible ASCII as the value")
        .with_source(error)
}
