//! Routes: the resource of a path.

use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use symbolon_client::Client;
use symbolon_server::ReadinessCheck;
use symbolon_types::{Error, ErrorKind};

use crate::failure::ProxyFailure;

/// The name of an identity that has none.
const DEFAULT_IDENTITY: &str = "default";

/// A path of the proxy, the URL that takes its place, and the client that calls it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Without its final slash.
    path: String,
    authority: Authority,
    /// The path of the URL, without its final slash.
    base: String,
    pub(crate) client: Client,
    pub(crate) upgrade_client: Option<Client>,
    pub(crate) check: Arc<ReadinessCheck>,
}

impl Route {
    /// Sends requests for this path, and all paths below it, to this URL. The rest of the path is
    /// appended to the URL: with `/vault` and `https://contoso.vault.azure.net`, the path
    /// `/vault/secrets/x` becomes `https://contoso.vault.azure.net/secrets/x`. The path `/` is that
    /// of all requests without a longer route.
    ///
    /// # Errors
    /// `invalid_configuration` if the path does not begin with `/`, or if the URL is not https, has
    /// a user name, a query or a fragment; and for `.` and `..` in either.
    pub fn new(path: &str, url: &str, client: Client) -> Result<Self, Error> {
        if !path.starts_with('/') || path.contains(['?', '#']) || !is_normalized(path) {
            return Err(invalid(format!("the path {path:?} of a route is not an absolute path"))
                .with_advice("use a path such as / or /vault, without query and dot segments"));
        }
        let is_plain = |uri: &Uri| {
            uri.scheme() == Some(&Scheme::HTTPS) && uri.query().is_none() && is_normalized(uri.path())
        };
        let uri = url.parse::<Uri>().ok().filter(|uri| is_plain(uri) && !url.contains('#'));
        let authority = uri.as_ref().and_then(Uri::authority).filter(|name| !name.as_str().contains('@'));
        let (Some(uri), Some(authority)) = (&uri, authority) else {
            // It may contain a password.
            return Err(invalid(format!("the URL of the route {path} is not an https URL"))
                .with_advice("use the form https://host/path, without user name, query and fragment"));
        };
        Ok(Self {
            path: path.trim_end_matches('/').to_owned(),
            authority: authority.clone(),
            base: uri.path().trim_end_matches('/').to_owned(),
            check: check(DEFAULT_IDENTITY, &client),
            client,
            upgrade_client: None,
        })
    }

    /// Sets the name of the identity of the client, for `/readyz` and `/metrics`. Default:
    /// `default`.
    #[must_use]
    pub fn identity_name(mut self, name: &str) -> Self {
        self.check = check(name, &self.client);
        self
    }

    /// Sets the client for requests that switch to another protocol, such as WebSocket, which needs
    /// connections without HTTP/2. Default: none, and such requests are sent as all others.
    #[must_use]
    pub fn upgrade_client(mut self, client: Client) -> Self {
        self.upgrade_client = Some(client);
        self
    }

    /// Returns the rest of a path below that of this route.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.path).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the URL of a request for a path that has this rest.
    fn url(&self, rest: &str, target: &PathAndQuery) -> Option<Uri> {
        let target = match (self.path.is_empty(), self.base.is_empty(), target.query()) {
            (true, true, _) => target.clone(),
            (_, _, query) => {
                let slash = if rest.is_empty() && self.base.is_empty() { "/" } else { "" };
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                PathAndQuery::try_from(format!("{}{slash}{rest}{query}", self.base)).ok()?
            }
        };
        let uri = Uri::builder().scheme(Scheme::HTTPS).authority(self.authority.clone());
        uri.path_and_query(target).build().ok()
    }
}

/// Returns the check of the tokens of a client.
fn check(identity: &str, client: &Client) -> Arc<ReadinessCheck> {
    let client = client.clone();
    ReadinessCheck::new(identity, client.resource().to_owned(), move || {
        let client = client.clone();
        Box::pin(async move { Ok(client.prepare().await?.expires_on()) })
    })
}

/// The routes of a proxy.
#[derive(Debug)]
pub(crate) struct RouteTable(Vec<Route>);

impl RouteTable {
    pub(crate) fn new(mut routes: Vec<Route>) -> Result<Self, Error> {
        if routes.is_empty() {
            return Err(invalid("the proxy has no route".to_owned()).with_advice("add a route"));
        }
        // The longest path first.
        routes.sort_by(|one, other| other.path.len().cmp(&one.path.len()).then(one.path.cmp(&other.path)));
        if let Some(pair) = routes.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let path = if pair[0].path.is_empty() { "/" } else { &pair[0].path };
            return Err(invalid(format!("two routes have the path {path}")).with_advice("remove one of them"));
        }
        Ok(Self(routes))
    }

    /// Returns the checks of the tokens of all routes.
    pub(crate) fn checks(&self) -> Vec<Arc<ReadinessCheck>> {
        self.0.iter().map(|route| Arc::clone(&route.check)).collect()
    }

    /// Returns the route of a request target, and the URL that takes its place.
    pub(crate) fn find(&self, target: &Uri) -> Result<(&Route, Uri), ProxyFailure> {
        let Some(path_and_query) = target.path_and_query() else {
            return Err(ProxyFailure::invalid_target());
        };
        let path = path_and_query.path();
        if !path.starts_with('/') || !is_normalized(path) {
            return Err(ProxyFailure::invalid_target());
        }
        let found = self.0.iter().find_map(|route| Some((route, route.rest(path)?)));
        let (route, rest) = found.ok_or_else(ProxyFailure::no_route)?;
        let url = route.url(rest, path_and_query).ok_or_else(ProxyFailure::invalid_target)?;
        Ok((route, url))
    }
}

/// Returns true if a path has no dot segments (RFC 3986 §5.2.4), also in percent-encoding or with
/// backslashes, which some servers take for slashes: they would leave the path of the route.
fn is_normalized(path: &str) -> bool {
    if !path.contains(['.', '%', '\\']) {
        return true;
    }
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    !decoded.split(['/', '\\']).any(|segment| {
        // A parameter of a segment is ignored by some servers.
        matches!(segment.split(';').next(), Some("." | ".."))
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", message)
}

#[cfg(test)]
mod tests {
    use symbolon_client::{ProviderRequest, TokenProvider};
    use symbolon_types::Context;

    use super::*;

    #[derive(Debug)]
    struct NoTokens;

    impl TokenProvider for NoTokens {
        async fn token(&self, _request: &ProviderRequest<'_>) -> Result<symbolon_token::Token, Error> {
            Err(invalid("no token".to_owned()))
        }

        fn context(&self) -> Context {
            Context::default()
        }
    }

    fn route(path: &str, url: &str) -> Result<Route, Error> {
        Route::new(path, url, Client::builder(NoTokens, "https://vault.example").build()?)
    }

    fn found(routes: &[(&str, &str)], target: &str) -> Result<String, u16> {
        let routes = routes.iter().map(|(path, url)| route(path, url).unwrap()).collect();
        let table = RouteTable::new(routes).unwrap();
        let found = table.find(&target.parse().unwrap());
        found.map(|(_, url)| url.to_string()).map_err(|failure| failure.status.as_u16())
    }

    #[test]
    fn longest_path_wins() {
        let routes = [
            ("/", "https://a.example"),
            ("/vault", "https://b.example/base/"),
            ("/vault/deep/", "https://c.example:8443"),
        ];
        for (target, url) in [
            ("/", "https://a.example/"),
            ("/x?y=z", "https://a.example/x?y=z"),
            ("/vaults/x", "https://a.example/vaults/x"),
            ("/vault", "https://b.example/base"),
            ("/vault?y", "https://b.example/base?y"),
            ("/vault/", "https://b.example/base/"),
            ("/vault/x/?y=%2F..", "https://b.example/base/x/?y=%2F.."),
            ("/vault/deep", "https://c.example:8443/"),
            ("/vault/deep?y", "https://c.example:8443/?y"),
            ("/vault/deep/x//y", "https://c.example:8443/x//y"),
            ("http://localhost:1/vault/x", "https://b.example/base/x"),
            ("/x.y/..z/...", "https://a.example/x.y/..z/..."),
        ] {
            assert_eq!(found(&routes, target), Ok(url.to_owned()), "{target}");
        }
        assert_eq!(found(&routes[1..], "/other"), Err(404));
    }

    #[test]
    fn dot_segments_are_refused() {
        for target in [
            "/vault/../x",
            "/vault/..",
            "/./x",
            "/vault/%2e%2E/x",
            "/vault/.%2e/x",
            "/vault%2f..%2fx",
            "/vault/..;a/x",
            "/vault/..%5cx",
            "*",
        ] {
            assert_eq!(found(&[("/", "https://a.example")], target), Err(400), "{target}");
        }
    }

    #[test]
    fn invalid_routes_are_refused() {
        for (path, url) in [
            ("vault", "https://a.example"),
            ("", "https://a.example"),
            ("/a/../b", "https://a.example"),
            ("/a?b", "https://a.example"),
            ("/", "http://a.example"),
            ("/", "a.example"),
            ("/", "https://user:password@a.example"),
            ("/", "https://a.example/?x"),
            ("/", "https://a.example/#x"),
            ("/", "https://a.example/a/../b"),
        ] {
            let error = route(path, url).unwrap_err();
            assert_eq!(error.code(), "invalid_configuration", "{path} {url}");
            assert!(!error.to_string().contains("password"), "{error}");
        }
        let twice =
            vec![route("/a", "https://a.example").unwrap(), route("/a/", "https://b.example").unwrap()];
        assert!(RouteTable::new(twice).unwrap_err().to_string().contains("two routes have the path /a"));
        assert!(RouteTable::new(Vec::new()).is_err());
    }
}
