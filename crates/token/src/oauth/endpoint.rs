//! Where tokens are issued.

use std::fmt;
use std::sync::Arc;

use symbolon_transport::Route;
use symbolon_types::{Error, ErrorKind};
use url::{Host, Url};

/// The URL of a token endpoint (RFC 6749 §3.2), checked once, where it enters. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenEndpoint(Arc<EndpointParts>);

#[derive(PartialEq, Eq, Hash)]
struct EndpointParts {
    url: Url,
    route: Route,
}

impl TokenEndpoint {
    /// Takes an `https` URL without user information and fragment.
    ///
    /// # Errors
    /// `insecure_endpoint` for another scheme, `invalid_endpoint` for anything else.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Self::from_url(url.parse().map_err(|_| invalid("is not a URL"))?)
    }

    /// Takes an `https` URL without user information and fragment.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_url(url: Url) -> Result<Self, Error> {
        Self::checked(url, false)
    }

    /// Takes also an `http` URL, if its host is a loopback address: for an emulator without TLS.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `http` to any other host is `insecure_endpoint`.
    pub fn allowing_http_on_loopback(url: Url) -> Result<Self, Error> {
        Self::checked(url, true)
    }

    fn checked(url: Url, http_on_loopback: bool) -> Result<Self, Error> {
        let route = match url.scheme() {
            "https" => Route::Public,
            "http" if http_on_loopback && is_loopback(&url) => Route::Local,
            _ => {
                let error = "the token endpoint is not an https URL; nothing was sent";
                return Err(Error::new(ErrorKind::Request, "insecure_endpoint", error)
                    .with_advice("use the https URL of the token endpoint"));
            }
        };
        if url.host().is_none() {
            return Err(invalid("has no host"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(invalid("contains user information or a fragment"));
        }
        Ok(Self(Arc::new(EndpointParts { url, route })))
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    pub(crate) fn route(&self) -> Route {
        self.0.route
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Request, "invalid_endpoint", format!("the token endpoint {what}"))
        .with_advice("use the form https://host/tenant/oauth2/v2.0/token")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Shows the origin: the path names the tenant.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenEndpoint({})", self.0.url.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_an_endpoint_unless_loopback_was_allowed() {
        for (url, always, on_loopback) in [
            ("https://login.microsoftonline.com/t/oauth2/v2.0/token", None, None),
            ("https://127.0.0.1:8443/t/oauth2/v2.0/token", None, None),
            ("http://127.0.0.1:8080/token", Some("insecure_endpoint"), None),
            ("http://localhost/token", Some("insecure_endpoint"), None),
            ("http://[::1]/token", Some("insecure_endpoint"), None),
            ("http://login.example/token", Some("insecure_endpoint"), Some("insecure_endpoint")),
            ("http://localhost.evil.example/token", Some("insecure_endpoint"), Some("insecure_endpoint")),
            ("ftp://login.example/token", Some("insecure_endpoint"), Some("insecure_endpoint")),
            ("https://user@login.example/token", Some("invalid_endpoint"), Some("invalid_endpoint")),
            ("https://:password@login.example/token", Some("invalid_endpoint"), Some("invalid_endpoint")),
            ("https://login.example/token#x", Some("invalid_endpoint"), Some("invalid_endpoint")),
        ] {
            let code =
                |result: Result<TokenEndpoint, Error>| result.err().map(|error| error.code().to_owned());
            assert_eq!(code(TokenEndpoint::parse(url)).as_deref(), always, "{url}");
            let allowed = TokenEndpoint::allowing_http_on_loopback(url.parse().unwrap());
            assert_eq!(code(allowed).as_deref(), on_loopback, "{url}");
        }
        assert_eq!(TokenEndpoint::parse("not a url").unwrap_err().code(), "invalid_endpoint");
    }

    #[test]
    fn no_proxy_stands_before_an_endpoint_without_tls() {
        for (url, route) in
            [("https://127.0.0.1:8443/token", Route::Public), ("http://127.0.0.1:8080/token", Route::Local)]
        {
            let endpoint = TokenEndpoint::allowing_http_on_loopback(url.parse().unwrap()).unwrap();
            assert_eq!(endpoint.route(), route, "{url}");
        }
    }
}
