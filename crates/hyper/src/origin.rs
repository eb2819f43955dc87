//! Destinations of requests.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use symbolon_rustls::pki_types::ServerName;
use symbolon_transport::{Request, Route, TransportError, TransportErrorKind};
use symbolon_types::ServerAuth;
use url::Host;

/// Scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HttpOrigin {
    is_tls: bool,
    host: Host<String>,
    port: u16,
}

impl HttpOrigin {
    /// Returns the origin of a request, or an error if its route does not allow it.
    pub(crate) fn of(request: &Request) -> Result<Self, TransportErrorKind> {
        let url = request.url();
        let is_tls = match url.scheme() {
            "https" => true,
            "http" if is_plain_allowed(request) => false,
            "http" => return Err(TransportErrorKind::Insecure),
            _ => return Err(TransportErrorKind::Unsupported),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(TransportErrorKind::Unsupported);
        };
        Ok(Self { is_tls, host: host.to_owned(), port })
    }

    /// Returns the origin of an absolute URI without a user name, or `None` for any other.
    #[cfg(feature = "connections")]
    pub(crate) fn of_uri(uri: &http::Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = uri.host()?;
        let host = match is_normal_name(host) {
            true => Host::Domain(host.to_owned()),
            false => Host::parse(host).ok()?,
        };
        Some(Self { is_tls, host, port })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the `Host` field (RFC 9110 §7.2): the port only if it is not the default.
    pub(crate) fn host_field(&self) -> String {
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            _ => self.to_string(),
        }
    }

    /// Returns true for this machine or its link, which are never proxied: loopback (RFC 6761 §6.3
    /// for the name) and the link-local addresses of metadata services.
    pub(crate) fn is_local(&self) -> bool {
        match &self.host {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Host::Ipv4(address) => is_local_v4(*address),
            Host::Ipv6(address) => is_local_v6(*address),
        }
    }
}

/// Returns the name that the certificate of a server must have.
///
/// # Errors
/// [`Unsupported`](TransportErrorKind::Unsupported) for a host name that no certificate can have.
pub(crate) fn server_name(host: &Host<String>) -> Result<ServerName<'static>, TransportError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|error| {
            TransportError::new(TransportErrorKind::Unsupported)
                .with_problem(format!("has the host {name}, which is not a DNS name; nothing was sent"))
                .with_advice("check the host in the URL")
                .with_source(error)
        }),
        Host::Ipv4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress((*address).into())),
    }
}

/// Requests on a public route, with a certificate, or to a server with an authentication of its own
/// need TLS.
fn is_plain_allowed(request: &Request) -> bool {
    request.route() == Route::Local
        && request.identity().is_none()
        && *request.server_auth() == ServerAuth::Roots
}

/// `host:port`, as in the request target of CONNECT (RFC 9110 §9.3.6).
impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Returns true only for a name that IDNA leaves as it is (RFC 5891 §5.4) and that is no address:
/// lower-case letters, digits and hyphens, no encoded label, and a letter first in the last one.
#[cfg(feature = "connections")]
fn is_normal_name(host: &str) -> bool {
    let is_normal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let last = host.rsplit('.').next().unwrap_or_default();
    host.bytes().all(is_normal)
        && last.starts_with(|first: char| first.is_ascii_lowercase())
        && !host.contains("xn--")
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local()
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some_and(is_local_v4)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn origin(url: &str, route: Route) -> Result<HttpOrigin, TransportErrorKind> {
        HttpOrigin::of(&Request::new(Method::GET, url.parse().unwrap(), route))
    }

    #[test]
    fn public_routes_require_tls() {
        for (url, route, outcome) in [
            ("http://169.254.169.254/", Route::Local, Ok("169.254.169.254")),
            ("https://login.example/", Route::Public, Ok("login.example")),
            ("http://login.example/", Route::Public, Err(TransportErrorKind::Insecure)),
            ("ftp://login.example/", Route::Local, Err(TransportErrorKind::Unsupported)),
            ("data:text,x", Route::Local, Err(TransportErrorKind::Unsupported)),
        ] {
            let origin = origin(url, route).map(|origin| origin.host_field());
            assert_eq!(origin.as_deref().map_err(|kind| *kind), outcome, "{url}");
        }
    }

    #[test]
    #[cfg(feature = "connections")]
    fn host_of_a_uri_is_that_of_the_url() {
        for host in [
            "login.example",
            "LOGIN.example",
            "a-b.c1.example",
            "a..example",
            "-a.example",
            "localhost",
            "b.",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f",
            "0xa",
            "1.2.3.4a",
            "xn--bcher-kva.example",
            "xn--a",
            "a.xn--",
            "a_b.example",
            "[::1]",
            "a%41.example",
            "ab--c.example",
        ] {
            let uri: Option<http::Uri> = format!("https://{host}/").parse().ok();
            let Some(uri) = uri else { continue };
            let expected = Host::parse(uri.host().unwrap()).ok();
            assert_eq!(HttpOrigin::of_uri(&uri).map(|origin| origin.host), expected, "{host}");
        }
    }

    #[test]
    fn host_field_omits_the_default_port() {
        for (url, field) in [
            ("http://localhost/", "localhost"),
            ("http://localhost:443/", "localhost:443"),
            ("https://[::1]/", "[::1]"),
            ("https://[::1]:8443/", "[::1]:8443"),
        ] {
            assert_eq!(origin(url, Route::Local).unwrap().host_field(), field);
        }
    }

    #[test]
    fn host_outside_dns_has_no_server_name() {
        for (host, is_name) in [("login.example", true), ("a_b.example", true), ("a`b.example", false)] {
            let found = server_name(&Host::parse(host).unwrap());
            assert_eq!(found.map_err(|error| error.kind()).is_ok(), is_name, "{host}");
        }
    }

    #[test]
    fn loopback_and_link_local_hosts_are_local() {
        for (host, is_local) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("agent.localhost", true),
            ("127.9.9.9", true),
            ("169.254.169.254", true),
            ("[::1]", true),
            ("[fe80::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("notlocalhost", false),
            ("10.0.0.1", false),
            ("[2001:db8::1]", false),
        ] {
            let url = format!("https://{host}/");
            assert_eq!(origin(&url, Route::Public).unwrap().is_local(), is_local, "{host}");
        }
    }
}
