//! Proxies for public requests.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use symbolon_transport::{Route, TransportError, TransportErrorKind};
use symbolon_types::{Env, Secret};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::no_proxy::NoProxy;
use crate::origin::HttpOrigin;

/// Variables with the proxy for HTTPS, in order of precedence. Both cases are in use.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Variables with the hosts that bypass the proxy.
const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy configuration. An unusable one fails the requests that would use it.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    proxy: Option<Result<Proxy, ProxySettingError>>,
    exceptions: NoProxy,
    warnings: Vec<String>,
}

/// A proxy that opens tunnels.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<ProxyParts>);

struct ProxyParts {
    variable: &'static str,
    protocol: ProxyProtocol,
    host: Host<String>,
    port: u16,
    credentials: Option<ProxyCredentials>,
}

/// The protocol by which a proxy opens tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    /// CONNECT (RFC 9110 §9.3.6).
    Http,
    /// CONNECT over TLS.
    Https,
    /// SOCKS 5 (RFC 1928), with addresses that are resolved here.
    Socks5,
    /// SOCKS 5 (RFC 1928), with names that the proxy resolves.
    Socks5h,
}

/// The user name and password of a proxy.
pub(crate) struct ProxyCredentials {
    pub(crate) user: Secret,
    pub(crate) password: Secret,
}

/// The value of a proxy variable is unusable. The value is not part of the error, because it may
/// contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxySettingError {
    #[error("{variable} is not the URL of a proxy")]
    Malformed { variable: &'static str },
    #[error("{variable} names a proxy of a kind that is not supported")]
    UnsupportedScheme { variable: &'static str },
    #[error("{variable} has an `@` after the host, as if its password contained a `/`, `?`, `#` or `\\`")]
    UnescapedPassword { variable: &'static str },
}

impl ProxySettingError {
    fn advice(self) -> String {
        let (Self::Malformed { variable }
        | Self::UnsupportedScheme { variable }
        | Self::UnescapedPassword { variable }) = self;
        let escape = match self {
            Self::UnescapedPassword { .. } => {
                ", with the special characters of the password as %2F, %3F, %23 or %5C"
            }
            _ => "",
        };
        format!(
            "set {variable} to http://, https://, socks5:// or socks5h://[user:password@]host:port{escape}, unset \
             it, or add the host to NO_PROXY"
        )
    }
}

impl Proxies {
    /// Reads the configuration from the variables.
    pub(crate) fn from_env(env: &Env) -> Self {
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, env.var(name)?)));
        let Some((variable, url)) = first(&PROXY_VARIABLES) else { return Self::default() };
        let proxy = Proxy::parse(variable, &url);
        let mut warnings: Vec<_> =
            proxy.as_ref().err().map(|error| format!("{error}; {}", error.advice())).into_iter().collect();
        let mut exceptions = NoProxy::default();
        if let Some((variable, list)) = first(&EXCEPTION_VARIABLES) {
            let (read, unread) = NoProxy::parse(&list);
            exceptions = read;
            warnings.extend(unread.iter().map(|entry| {
                let entry = if entry.contains('@') { "with `@`" } else { entry };
                format!(
                    "{variable} has the entry {entry:?}, which is ignored; write a domain, an address or a network, \
                     such as `example.com`, `10.0.0.1:443` or `10.0.0.0/8`"
                )
            }));
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Self { proxy: Some(proxy), exceptions, warnings }
    }

    /// Returns the proxy for a request.
    ///
    /// # Errors
    /// [`Misconfigured`](TransportErrorKind::Misconfigured) if the request would use an unusable
    /// one.
    pub(crate) fn proxy_for(
        &self,
        route: Route,
        origin: &HttpOrigin,
    ) -> Result<Option<&Proxy>, TransportError> {
        if route == Route::Local || origin.is_local() || !origin.is_tls() || self.exceptions.contains(origin)
        {
            return Ok(None);
        }
        match &self.proxy {
            None => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(TransportError::new(TransportErrorKind::Misconfigured)
                .with_problem(format!("was not called, because {error}"))
                .with_advice(error.advice())),
        }
    }

    /// Returns what is unusable in the variables, in sentences.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Proxy {
    fn parse(variable: &'static str, text: &str) -> Result<Self, ProxySettingError> {
        let malformed = ProxySettingError::Malformed { variable };
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyProtocol::Http, 80),
            "https" => (ProxyProtocol::Https, 443),
            "socks5" => (ProxyProtocol::Socks5, 1080),
            "socks5h" => (ProxyProtocol::Socks5h, 1080),
            scheme if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(ProxySettingError::UnsupportedScheme { variable });
            }
            _ => return Err(malformed),
        };
        // A URL omits the default port of its scheme. Other schemes have no known form of hosts.
        let parse = |scheme| Url::parse(&format!("{scheme}://{rest}"));
        if rest.find(['/', '?', '#', '\\']).is_some_and(|end| rest[end..].contains('@')) {
            return Err(ProxySettingError::UnescapedPassword { variable });
        }
        let url = parse("http").map_err(|_| malformed)?;
        let port = url.port().or_else(|| parse("https").ok()?.port());
        let host = url.host().ok_or(malformed)?.to_owned();
        let decode = |text| Secret::new(percent_decode_str(text).decode_utf8_lossy().into_owned());
        let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
            ProxyCredentials { user: decode(url.username()), password: decode(url.password().unwrap_or("")) }
        });
        let port = port.unwrap_or(default_port);
        Ok(Self(Arc::new(ProxyParts { variable, protocol, host, port, credentials })))
    }

    pub(crate) fn variable(&self) -> &'static str {
        self.0.variable
    }

    pub(crate) fn protocol(&self) -> ProxyProtocol {
        self.0.protocol
    }

    pub(crate) fn host(&self) -> &Host<String> {
        &self.0.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    pub(crate) fn credentials(&self) -> Option<&ProxyCredentials> {
        self.0.credentials.as_ref()
    }

    /// Returns the proxy and its variable, for an error.
    pub(crate) fn with_variable(&self) -> String {
        format!("{self} of {}", self.0.variable)
    }
}

impl ProxyCredentials {
    /// Returns the value of `Proxy-Authorization` (RFC 7617 §2).
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let plain = Zeroizing::new(format!("{}:{}", self.user.expose(), self.password.expose()));
        let encoded = Zeroizing::new(Base64::encode_string(plain.as_bytes()));
        let mut value = HeaderValue::try_from(format!("Basic {}", *encoded)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// `host:port`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.host, self.0.port)
    }
}

/// Omits the credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {self})", self.0.protocol)
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

    fn proxy(variables: &[(&str, &str)], url: &str, route: Route) -> Result<Option<Proxy>, TransportError> {
        let origin = HttpOrigin::of(&Request::new(Method::GET, url.parse().unwrap(), route)).unwrap();
        Proxies::from_env(&env(variables)).proxy_for(route, &origin).map(Option::<&Proxy>::cloned)
    }

    fn way(variables: &[(&str, &str)], url: &str, route: Route) -> Option<String> {
        proxy(variables, url, route).unwrap().map(|proxy| proxy.to_string())
    }

    fn parsed(url: &str) -> Result<Proxy, ProxySettingError> {
        Proxy::parse("HTTPS_PROXY", url)
    }

    #[test]
    fn first_set_variable_names_the_proxy() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2")], Some("a:1")),
            (&[("https_proxy", "http://a:1")], Some("a:1")),
            (&[("ALL_PROXY", "http://[::1]:2")], Some("[::1]:2")),
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
            // `http::Uri` refuses this host.
            ("https://a`b.example/", Route::Public, true),
            ("https://a{b}.corp.example/", Route::Public, false),
        ] {
            assert_eq!(way(&proxied, url, route).is_some(), is_proxied, "{url}");
        }
        let all = [("HTTPS_PROXY", "http://a:1"), ("no_proxy", "*")];
        assert_eq!(way(&all, "https://login.example/", Route::Public), None);
    }

    #[test]
    fn proxies_have_four_protocols() {
        use ProxyProtocol::{Http, Https, Socks5, Socks5h};
        for (url, protocol, shown) in [
            ("proxy.example:3128", Http, "proxy.example:3128"),
            ("HTTP://Proxy.example:80/", Http, "proxy.example:80"),
            (" http://proxy.example\n", Http, "proxy.example:80"),
            ("http://proxy.example:443", Http, "proxy.example:443"),
            ("https://proxy.example", Https, "proxy.example:443"),
            ("https://proxy.example:80", Https, "proxy.example:80"),
            ("socks5://10.0.0.1", Socks5, "10.0.0.1:1080"),
            ("socks5://proxy.example:80", Socks5, "proxy.example:80"),
            ("socks5h://[2001:db8::1]:443", Socks5h, "[2001:db8::1]:443"),
            ("user:password@proxy.example:3128", Http, "proxy.example:3128"),
        ] {
            let proxy = parsed(url).unwrap();
            assert_eq!((proxy.protocol(), proxy.to_string().as_str()), (protocol, shown), "{url}");
        }
    }

    #[test]
    fn last_at_sign_ends_the_credentials() {
        for (url, user, password) in [
            ("http://user:p%40ss@proxy:3128", "user", "p@ss"),
            ("http://user:p@ss@proxy:3128", "user", "p@ss"),
            ("http://user@corp.example:p@:ss@proxy:3128", "user@corp.example", "p@:ss"),
            ("socks5://user:p%2Fs%3As@proxy:3128", "user", "p/s:s"),
            ("http://user@proxy:3128", "user", ""),
            ("http://:token@proxy:3128", "", "token"),
            ("http://CORP%5Cuser:p%20s@proxy:3128", "CORP\\user", "p s"),
        ] {
            let proxy = parsed(url).unwrap();
            assert_eq!(proxy.to_string(), "proxy:3128", "{url}");
            let credentials = proxy.credentials().unwrap();
            assert_eq!((credentials.user.expose(), credentials.password.expose()), (user, password), "{url}");
        }
        assert!(parsed("http://proxy:3128").unwrap().credentials().is_none());
    }

    #[test]
    fn unusable_proxy_fails_its_requests_only() {
        let variable = "HTTPS_PROXY";
        for (url, expected) in [
            ("not a url", ProxySettingError::Malformed { variable }),
            ("http://", ProxySettingError::Malformed { variable }),
            ("http://:3128", ProxySettingError::Malformed { variable }),
            ("http://user:s3cr3t@proxy:99999", ProxySettingError::Malformed { variable }),
            ("http://user:p/ss@proxy:3128", ProxySettingError::UnescapedPassword { variable }),
            ("http://user:12/3@proxy:3128", ProxySettingError::UnescapedPassword { variable }),
            ("http://CORP\\user:s3cr3t@proxy:3128", ProxySettingError::UnescapedPassword { variable }),
            ("http://user#1:s3cr3t@proxy:3128", ProxySettingError::UnescapedPassword { variable }),
            ("ftp://proxy:21", ProxySettingError::UnsupportedScheme { variable }),
            ("socks4://proxy:1080", ProxySettingError::UnsupportedScheme { variable }),
        ] {
            assert_eq!(parsed(url).unwrap_err(), expected, "{url}");
            let variables = [(variable, url), ("NO_PROXY", "corp.example")];
            for (url, route) in [
                ("https://localhost/", Route::Public),
                ("https://corp.example/", Route::Public),
                ("https://login.example/", Route::Local),
                ("http://169.254.169.254/", Route::Local),
            ] {
                assert_eq!(way(&variables, url, route), None);
            }
            let error = proxy(&variables, "https://login.example/", Route::Public).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Misconfigured);
            let shown = error.into_error("no token").to_string();
            assert!(shown.contains(variable) && shown.contains("socks5h://"), "{shown}");
            assert!(
                !shown.contains("p/ss") && !shown.contains("12/3") && !shown.contains("s3cr3t"),
                "{shown}"
            );
            assert_eq!(Proxies::from_env(&env(&variables)).warnings().len(), 1, "{url}");
        }
    }

    #[test]
    fn unread_exceptions_are_warnings() {
        let variables = [("HTTPS_PROXY", "http://a:1"), ("no_proxy", "10.*, corp.example, s3cr3t@b")];
        let proxies = Proxies::from_env(&env(&variables));
        let [first, second] = proxies.warnings() else { panic!("{proxies:?}") };
        assert!(first.contains("no_proxy") && first.contains("10.*"), "{first}");
        assert!(!second.contains("s3cr3t"), "{second}");
        // Without a proxy, the exceptions have no effect.
        assert!(Proxies::from_env(&env(&variables[1..])).warnings().is_empty());
    }

    #[test]
    fn debug_hides_proxy_credentials() {
        let variables = [("HTTPS_PROXY", "http://user:s3cr3t@proxy:3128")];
        let proxies = Proxies::from_env(&env(&variables));
        let proxy = proxy(&variables, "https://x.example", Route::Public).unwrap().unwrap();
        let encoded = "dXNlcjpzM2NyM3Q=";
        let basic = proxy.credentials().unwrap().basic().unwrap();
        assert_eq!(basic, &format!("Basic {encoded}"));
        for shown in [format!("{proxies:?}"), format!("{proxy:?} {proxy}"), format!("{basic:?}")] {
            assert!(!shown.contains("s3cr3t") && !shown.contains(encoded), "{shown}");
        }
    }
}
