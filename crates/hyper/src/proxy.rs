//! The proxy on the way, if any.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Method, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use symbolon_transport::Route;
use symbolon_types::Env;
use tokio::net::TcpStream;

use crate::error::BuildError;
use crate::origin::Origin;

/// Where the proxy for HTTPS stands, first found first used. The case varies by tradition.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Where the hosts stand that are reached without it.
const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The port of a proxy whose URL names none (RFC 9110 §4.2.1).
const DEFAULT_PORT: u16 = 80;

/// Which requests go through which proxy.
#[derive(Debug)]
pub(crate) struct Proxies(Option<Matcher>);

/// A proxy that makes tunnels.
#[derive(Clone)]
pub(crate) struct Proxy(Intercept);

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("the proxy answered {} to CONNECT", .0.as_u16())]
    Refused(StatusCode),
    #[error("the proxy spoke before the tunnel was used")]
    Spoke,
    #[error("the name of the host cannot be sent to the proxy")]
    Target(#[source] http::Error),
    #[error("the proxy did not answer CONNECT")]
    Lost(#[source] hyper::Error),
}

impl Proxies {
    /// Those that the variables name.
    pub(crate) fn from_env(env: &Env) -> Result<Self, BuildError> {
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, env.var(name)?)));
        let Some((variable, url)) = first(&PROXY_VARIABLES) else { return Ok(Self(None)) };
        let exceptions = first(&EXCEPTION_VARIABLES).map(|(_, hosts)| hosts).unwrap_or_default();

        // The matcher ignores what it cannot read; a proxy that was meant must not be bypassed.
        let example = Uri::from_static("https://host.example/");
        let understood = Matcher::builder().https(url.clone()).build().intercept(&example);
        match understood.as_ref().and_then(|proxy| proxy.uri().scheme_str()) {
            None => Err(BuildError::MalformedProxy { variable }),
            Some("http") => Ok(Self(Some(Matcher::builder().https(url).no(exceptions).build()))),
            Some(_) => Err(BuildError::UnsupportedProxy { variable }),
        }
    }

    /// The proxy for a request.
    pub(crate) fn on_the_way(&self, route: Route, origin: &Origin) -> Option<Proxy> {
        if route == Route::Local || origin.is_local() || !origin.is_tls() {
            return None;
        }
        let target = format!("https://{origin}/").parse().ok()?;
        self.0.as_ref()?.intercept(&target).map(Proxy)
    }
}

impl Proxy {
    pub(crate) fn host(&self) -> &str {
        // An IPv6 address is bracketed in a URL and nowhere else.
        self.0.uri().host().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.uri().port_u16().unwrap_or(DEFAULT_PORT)
    }

    /// Asks a connected proxy for a tunnel to the origin (RFC 9110 §9.3.6).
    pub(crate) async fn tunnel(&self, proxy: TcpStream, origin: &Origin) -> Result<TcpStream, TunnelError> {
        let target = origin.to_string();
        let mut request = http::Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
        if let Some(credentials) = self.0.basic_auth() {
            request = request.header(PROXY_AUTHORIZATION, credentials);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(TunnelError::Target)?;

        let (mut sender, connection) = handshake(TokioIo::new(proxy)).await.map_err(TunnelError::Lost)?;
        let mut response = pin!(sender.send_request(request));
        let mut connection = pin!(connection.without_shutdown());
        let mut released = None;
        let answered = poll_fn(|context| {
            if released.is_none()
                && let Poll::Ready(parts) = connection.as_mut().poll(context)
            {
                released = Some(parts);
            }
            response.as_mut().poll(context)
        });
        let status = answered.await.map_err(TunnelError::Lost)?.status();
        if !status.is_success() {
            return Err(TunnelError::Refused(status));
        }
        let released = match released {
            Some(parts) => parts,
            None => connection.await,
        };
        let parts = released.map_err(TunnelError::Lost)?;
        if !parts.read_buf.is_empty() {
            return Err(TunnelError::Spoke);
        }
        Ok(parts.io.into_inner())
    }
}

/// Without the credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host(), self.port())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use symbolon_transport::Request;

    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        variables.iter().copied().collect()
    }

    fn way(variables: &[(&str, &str)], url: &str, route: Route) -> Option<String> {
        let origin = Origin::of(&Request::new(Method::GET, url.parse().unwrap(), route)).unwrap();
        let proxy = Proxies::from_env(&env(variables)).unwrap().on_the_way(route, &origin)?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn the_proxy_is_the_first_variable_that_is_set() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2")], Some("a:1")),
            (&[("https_proxy", "http://a:1")], Some("a:1")),
            (&[("ALL_PROXY", "http://[::1]:2")], Some("::1:2")),
            (&[("HTTPS_PROXY", "proxy.example")], Some("proxy.example:80")),
            (&[("HTTP_PROXY", "http://a:1")], None),
        ] {
            let way = way(variables, "https://login.example/", Route::Public);
            assert_eq!(way.as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn exceptions_this_machine_and_local_requests_are_never_proxied() {
        let proxied = [("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "corp.example, 10.0.0.0/8")];
        for (url, route, is_proxied) in [
            ("https://login.example/", Route::Public, true),
            ("https://notcorp.example/", Route::Public, true),
            ("https://11.0.0.1/", Route::Public, true),
            ("https://corp.example/", Route::Public, false),
            ("https://sub.corp.example:8443/", Route::Public, false),
            ("https://10.1.2.3/", Route::Public, false),
            ("https://localhost/", Route::Public, false),
            ("https://127.0.0.1/", Route::Public, false),
            ("https://169.254.169.254/", Route::Public, false),
            ("https://[::1]/", Route::Public, false),
            ("https://login.example/", Route::Local, false),
            ("http://168.63.129.16/", Route::Local, false),
        ] {
            assert_eq!(way(&proxied, url, route).is_some(), is_proxied, "{url}");
        }
        let all = [("HTTPS_PROXY", "http://a:1"), ("no_proxy", "*")];
        assert_eq!(way(&all, "https://login.example/", Route::Public), None);
    }

    #[test]
    fn what_is_not_an_http_proxy_is_refused_when_the_transport_is_built() {
        let malformed = BuildError::MalformedProxy { variable: "HTTPS_PROXY" };
        let unsupported = BuildError::UnsupportedProxy { variable: "HTTPS_PROXY" };
        for (url, expected) in [
            ("not a url", &malformed),
            ("ftp://proxy:21", &malformed),
            ("http://", &malformed),
            ("https://proxy:443", &unsupported),
            ("socks5://proxy:1080", &unsupported),
        ] {
            let error = Proxies::from_env(&env(&[("HTTPS_PROXY", url)])).unwrap_err();
            assert_eq!(&error, expected, "{url}");
        }
    }

    #[test]
    fn no_format_shows_the_credentials_of_a_proxy() {
        let variables = [("HTTPS_PROXY", "http://user:s3cr3t@proxy:3128")];
        let proxies = Proxies::from_env(&env(&variables)).unwrap();
        let origin =
            Origin::of(&Request::new(Method::GET, "https://x.example".parse().unwrap(), Route::Public));
        let proxy = proxies.on_the_way(Route::Public, &origin.unwrap()).unwrap();
        let encoded = "dXNlcjpzM2NyM3Q=";
        assert_eq!(proxy.0.basic_auth().unwrap(), &format!("Basic {encoded}"));
        for shown in [format!("{proxies:?}"), format!("{proxy:?}"), format!("{:?}", proxy.0.basic_auth())] {
            assert!(!shown.contains("s3cr3t") && !shown.contains(encoded), "{shown}");
        }
    }
}
