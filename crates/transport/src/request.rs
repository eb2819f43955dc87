//! Requests.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use symbolon_types::{ClientIdentity, PrivateTrust, Secret, Secrets, ServerAuth};
use url::{Host, ParseError, Url};

use crate::CertificatePin;
use crate::phase::PhaseCell;

/// An HTTP request with its route, its client identity and its idempotence.
///
/// ```
/// # use symbolon_transport::{Request, Route};
/// # use http::{HeaderValue, Method};
/// let url = "http://169.254.169.254/metadata/identity/getplatformmetadata".parse()?;
/// let mut request = Request::new(Method::GET, url, Route::Local);
/// request.headers_mut().insert("metadata", HeaderValue::from_static("true"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Request {
    method: Method,
    url: Url,
    route: Route,
    headers: HeaderMap,
    body: Bytes,
    identity: Option<ClientIdentity>,
    server_auth: ServerAuth,
    is_late_certificate_permitted: bool,
    secrets: Secrets,
    idempotence: Idempotence,
    phase: PhaseCell,
}

/// The idempotence of a request (RFC 9110 §9.2.2).
///
/// A request that the server has provably not processed may always be sent again. This value states
/// which repetition is permitted after the server may have processed the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Idempotence {
    /// The request is not repeated.
    None,
    /// The operation is idempotent, but the message contains a value that is accepted once, such as
    /// a client assertion (RFC 7523 §3). A new message may be sent, the same one may not.
    Operation,
    /// The same message may be sent again.
    Message,
}

/// The network path of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// An endpoint of this machine or its host: a metadata service on a link-local address or an
    /// agent on loopback. Plain HTTP is allowed to a [local address](is_local_address), proxies are
    /// not.
    Local,
    /// A remote service. HTTPS only; a configured proxy may be used.
    Public,
}

impl Request {
    /// Creates a request without headers, body and client certificate. It is
    /// [idempotent](Idempotence::Message) if its method is: `POST` and `PATCH` are not.
    pub fn new(method: Method, url: Url, route: Route) -> Self {
        Self {
            idempotence: if method.is_idempotent() { Idempotence::Message } else { Idempotence::None },
            method,
            url,
            route,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            identity: None,
            server_auth: ServerAuth::Roots,
            is_late_certificate_permitted: false,
            secrets: Secrets::none(),
            phase: PhaseCell::new(),
        }
    }

    /// Creates a request from one of the crate `http`, with its headers, its body and its
    /// [`PhaseCell`].
    ///
    /// # Errors
    /// The error of the URL, which must be absolute.
    pub fn from_http(request: http::Request<impl Into<Bytes>>, route: Route) -> Result<Self, ParseError> {
        let (head, body) = request.into_parts();
        let mut converted = Self::new(head.method, head.uri.to_string().parse()?, route).with_body(body);
        converted.headers = head.headers;
        if let Some(phase) = head.extensions.get::<PhaseCell>() {
            converted.phase = phase.clone();
        }
        Ok(converted)
    }

    /// Sets the body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Requires a connection that presents this client certificate.
    pub fn with_identity(mut self, identity: Option<ClientIdentity>) -> Self {
        self.identity = identity;
        self
    }

    /// Permits that the server requests the client certificate after it has received the request,
    /// as Azure Key Vault does (`docs/guide/key-vault.md`). A transport without
    /// [renegotiation](crate::Capabilities::with_renegotiation) ignores it. Default: false.
    pub fn with_late_certificate(mut self, is_permitted: bool) -> Self {
        self.is_late_certificate_permitted = is_permitted;
        self
    }

    /// Requires a server with this certificate. The thumbprint replaces the checks of chain, name
    /// and validity, and a [private trust](Self::with_private_trust).
    pub fn with_pinned_server(mut self, pin: Option<CertificatePin>) -> Self {
        self.server_auth = pin.into();
        self
    }

    /// Authenticates the server by root certificates or a name of its own. They replace a
    /// [pin](Self::with_pinned_server).
    pub fn with_private_trust(mut self, trust: Option<PrivateTrust>) -> Self {
        self.server_auth = trust.map_or(ServerAuth::Roots, ServerAuth::Private);
        self
    }

    /// Declares secrets that the URL or the body contains, so that no error repeats them. Values of
    /// [sensitive](http::HeaderValue::is_sensitive) headers are secrets without being declared.
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Returns the declared secrets and the values of sensitive headers, with and without their
    /// authentication scheme (RFC 9110 §11.4).
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let mut secrets = self.secrets.clone();
        for (name, value) in self.headers.iter().filter(|(_, value)| value.is_sensitive()) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let credentials = value.split_once(' ').filter(|_| *name == AUTHORIZATION);
            secrets.extend(credentials.map(|(_, credentials)| credentials.into()));
            secrets.push(value.into_owned().into());
        }
        secrets
    }

    /// Declares the idempotence of a request whose semantics differ from those of its method.
    pub fn with_idempotence(mut self, idempotence: Idempotence) -> Self {
        self.idempotence = idempotence;
        self
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the URL for modification.
    pub fn url_mut(&mut self) -> &mut Url {
        &mut self.url
    }

    /// Returns the route.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Returns the headers. The transport adds `Host` and `Content-Length` only.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the headers for modification.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the client certificate that the connection must present.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.as_ref()
    }

    /// Returns true if the server may request the client certificate after it has received the
    /// request.
    #[must_use]
    pub fn is_late_certificate_permitted(&self) -> bool {
        self.is_late_certificate_permitted
    }

    /// Returns the authentication of the server.
    #[must_use]
    pub fn server_auth(&self) -> &ServerAuth {
        &self.server_auth
    }

    /// Returns the idempotence.
    #[must_use]
    pub fn idempotence(&self) -> Idempotence {
        self.idempotence
    }

    /// Sets the cell of the request's phase.
    pub fn with_phase(mut self, phase: PhaseCell) -> Self {
        self.phase = phase;
        self
    }

    /// Returns the cell of the request's phase, which its clones share. A transport may set it.
    #[must_use]
    pub fn phase(&self) -> &PhaseCell {
        &self.phase
    }

    /// Returns the server as `host:port`.
    #[must_use]
    pub fn destination(&self) -> Option<String> {
        let port = self.url.port_or_known_default()?;
        Some(format!("{}:{port}", self.url.host()?))
    }
}

// Shows the method and the origin: path, query, headers and body may contain a secret.
symbolon_types::debug_fields!(
    Request |this|
    method: this.method, origin: this.url.origin().ascii_serialization(), route: this.route,
    has_identity: this.identity.is_some(), server_auth: this.server_auth,
    is_late_certificate_permitted: this.is_late_certificate_permitted
);

/// Returns whether plain HTTP may be sent to this address: one of this machine, of its link or of a
/// private network, to which no router of the internet forwards.
///
/// These are loopback, link-local addresses (RFC 3927, RFC 4291 §2.5.6), private ones (RFC 1918,
/// RFC 4193), the shared space that clusters use for their pods (RFC 6598), and IPv6 addresses that
/// [map](std::net::Ipv6Addr::to_ipv4_mapped) one of them. The unspecified address is none of them.
#[must_use]
pub fn is_local_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            address.is_loopback() || address.is_link_local() || address.is_private() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
        }
    }
}

/// Returns whether the host is a loopback address or `localhost` (RFC 6761 §6.3).
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_end_at_their_networks() {
        for (address, is_local) in [
            ("127.0.0.1", true),
            ("127.255.255.255", true),
            ("169.254.169.254", true),
            ("169.253.255.255", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("172.15.255.255", false),
            ("192.168.0.1", true),
            ("192.169.0.1", false),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.63.255.255", false),
            ("100.128.0.0", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("168.63.129.16", false),
            ("203.0.113.7", false),
            ("::1", true),
            ("::", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe00::1", false),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:203.0.113.7", false),
            ("::10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
        ] {
            assert_eq!(is_local_address(address.parse().unwrap()), is_local, "{address}");
        }
    }
}
