//! Proxies for public requests.

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
use crate::origin::HttpOrigin;

/// Variables with the proxy for HTTPS, in order of precedence. Both cases are in use.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Variables with the hosts that bypass the proxy.
const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The default port of a proxy (RFC 9110 §4.2.1).
const DEFAULT_PORT: u16 = 80;

/// The proxy configuration.
#[derive(Debug)]
pub(crate) struct Proxies(Option<Matcher>);

/// A proxy that opens tunnels.
#[derive(Clone)]
pub(crate) struct Proxy(Intercept);

/// The error of opening a tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("the proxy responded to CONNECT with HTTP {}; check its address and credentials", .0.as_u16())]
    Refused(StatusCode),
    #[error("the proxy sent data before the tunnel was used")]
    Spoke,
    #[error("the host name cannot be sent to the proxy")]
    Target(#[source] http::Error),
    #[error("the proxy did not respond to CONNECT")]
    Lost(#[source] hyper::Error),
}

impl Proxies {
    /// Reads the configuration from the variables.
    pub(crate) fn from_env(env: &Env) -> Result<Self, BuildError> {
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, env.var(name)?)));
        let Some((variable, url)) = first(&PROXY_VARIABLES) else { return Ok(Self(None)) };
        let exceptions = first(&EXCEPTION_VARIABLES).map(|(_, hosts)| hosts).unwrap_or_default();

        // The matcher ignores values that it cannot parse; a configured proxy must not be bypassed.
        let example = Uri::from_static("https://host.example/");
        let understood = Matcher::builder().https(url.clone()).build().intercept(&example);
        match understood.as_ref().and_then(|proxy| proxy.uri().scheme_str()) {
            None => Err(BuildError::MalformedProxy { variable }),
            Some("http") => Ok(Self(Some(Matcher::builder().https(url).no(exceptions).build()))),
            Some(_) => Err(BuildError::UnsupportedProxy { variable }),
        }
    }

    /// Returns the proxy for a request.
    pub(crate) fn proxy_for(&self, route: Route, origin: &HttpOrigin) -> Option<Proxy> {
        if route == Route::Local || origin.is_local() || !origin.is_tls() {
            return None;
        }
        let target = format!("https://{origin}/").parse().ok()?;
        self.0.as_ref()?.intercept(&target).map(Proxy)
    }
}

impl Proxy {
    pub(crate) fn host(&self) -> &str {
        // An IPv6 address has brackets in a URL only.
        self.0.uri().host().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.uri().port_u16().unwrap_or(DEFAULT_PORT)
    }

    /// Opens a tunnel to the origin through a connected proxy (RFC 9110 §9.3.6).
    pub(crate) async fn tunnel(
        &self,
        proxy: TcpStream,
        origin: &HttpOrigin,
    ) -> Result<TcpStream, TunnelError> {
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

/// Omits the credentials.
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
        let origin = HttpOrigin::of(&Request::new(Method::GET, url.parse().unwrap(), route)).unwrap();
        let proxy = Proxies::from_env(&env(variables)).unwrap().proxy_for(route, &origin)?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn first_set_variable_names_the_proxy() {
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
    fn excepted_and_local_hosts_bypass_proxy() {
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
    fn unusable_proxy_fails_the_build() {
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
    fn debug_hides_proxy_credentials() {
        let variables = [("HTTPS_PROXY", "http://user:s3cr3t@proxy:3128")];
        let proxies = Proxies::from_env(&env(&variables)).unwrap();
        let origin =
            HttpOrigin::of(&Request::new(Method::GET, "https://x.example".parse().unwrap(), Route::Public));
        let proxy = proxies.proxy_for(Route::Public, &origin.unwrap()).unwrap();
        let encoded = "dXNlcjpzM2NyM3Q=";
        assert_eq!(proxy.0.basic_auth().unwrap(), &format!("Basic {encoded}"));
        for shown in [format!("{proxies:?}"), format!("{proxy:?}"), format!("{:?}", proxy.0.basic_auth())] {
            assert!(!shown.contains("s3cr3t") && !shown.contains(encoded), "{shown}");
        }
    }
}
