//! The URL of a token endpoint.

use std::fmt;
use std::sync::Arc;

use symbolon_transport::{Route, is_loopback};
use symbolon_types::{Error, ErrorKind, PrivateTrust};
use url::Url;

/// The validated URL of a token endpoint (RFC 6749 §3.2). Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenEndpoint(Arc<EndpointParts>);

#[derive(PartialEq, Eq, Hash)]
struct EndpointParts {
    url: Url,
    route: Route,
    private_trust: Option<PrivateTrust>,
}

impl TokenEndpoint {
    /// Parses an `https` URL without user information and fragment.
    ///
    /// # Errors
    /// `insecure_endpoint` for another scheme, `invalid_endpoint` for anything else.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Self::from_url(url.parse().map_err(|_| invalid("is not a URL"))?)
    }

    /// Validates an `https` URL without user information and fragment.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_url(url: Url) -> Result<Self, Error> {
        Self::validate(url, false)
    }

    /// Validates an `https` URL, or an `http` URL whose host is a loopback address: for an emulator
    /// without TLS.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `http` to any other host is `insecure_endpoint`.
    pub fn allowing_http_on_loopback(url: Url) -> Result<Self, Error> {
        Self::validate(url, true)
    }

    fn validate(url: Url, http_on_loopback: bool) -> Result<Self, Error> {
        let route = match url.scheme() {
            "https" => Route::Public,
            "http" if http_on_loopback && is_loopback(&url) => Route::Local,
            scheme => {
                let error =
                    format!("the token endpoint has the scheme {scheme}, not https; nothing was sent");
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
        Ok(Self(Arc::new(EndpointParts { url, route, private_trust: None })))
    }

    /// Returns the endpoint of a service inside of a cluster, which is called without a proxy. The
    /// URL is an `https` URL without user information and fragment.
    pub(crate) fn of_cluster(url: Url, trust: PrivateTrust) -> Self {
        Self(Arc::new(EndpointParts { url, route: Route::Local, private_trust: Some(trust) }))
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    pub(crate) fn route(&self) -> Route {
        self.0.route
    }

    /// Returns the trust in the server, if it is not that in all servers.
    pub(crate) fn private_trust(&self) -> Option<&PrivateTrust> {
        self.0.private_trust.as_ref()
    }
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::Request, "invalid_endpoint", format!("the token endpoint {reason}"))
        .with_advice("use the form https://host/tenant/oauth2/v2.0/token")
}

/// Shows the origin only, because the path contains the tenant.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenEndpoint({})", self.0.url.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_must_be_https_or_loopback() {
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
    fn endpoint_without_tls_has_no_proxy() {
        for (url, route) in
            [("https://127.0.0.1:8443/token", Route::Public), ("http://127.0.0.1:8080/token", Route::Local)]
        {
            let endpoint = TokenEndpoint::allowing_http_on_loopback(url.parse().unwrap()).unwrap();
            assert_eq!(endpoint.route(), route, "{url}");
        }
    }
}
