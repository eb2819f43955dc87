//! The destination of a request, and the hosts that a client may send tokens to.

use http::Uri;
use symbolon_token::check_url;
use symbolon_types::{Error, ErrorKind};

/// Host and port of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Destination {
    /// Returns the destination of a URL to which a token may be sent.
    pub(crate) fn of(url: &Uri) -> Result<Self, Error> {
        check_url(url)?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let error = "the URL of the request contains a user name; nothing was sent";
            return Err(Error::new(ErrorKind::Request, "invalid_request", error)
                .with_advice("remove the part before the `@`: the token authenticates the request"));
        }
        let host = url.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        Ok(Self { host, port: url.port_u16().unwrap_or(443) })
    }
}

/// `host:port`
impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The domains that a client may send tokens to.
#[derive(Clone, Debug, Default)]
pub(crate) enum AllowedHosts {
    /// All hosts, with a warning for one outside of the resource's.
    #[default]
    Unspecified,
    /// All hosts.
    Any,
    /// These hosts and their subdomains.
    Only(Vec<String>),
}

impl AllowedHosts {
    /// Allows these hosts and their subdomains.
    pub(crate) fn only(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let normalize = |host: String| host.trim_matches('.').to_ascii_lowercase();
        Self::Only(hosts.into_iter().map(|host| normalize(host.into())).collect())
    }

    /// Returns an entry that cannot be a host name.
    pub(crate) fn invalid(&self) -> Option<&str> {
        let is_valid = |host: &str| {
            !host.is_empty()
                && !host.contains(['/', '@', '*'])
                && Uri::try_from(host).is_ok_and(|uri| uri.host().is_some_and(|parsed| parsed == host))
        };
        let Self::Only(hosts) = self else { return None };
        hosts.iter().map(String::as_str).find(|host| !is_valid(host))
    }

    /// Refuses a host that is not allowed.
    pub(crate) fn check(&self, destination: &Destination) -> Result<(), Error> {
        let Self::Only(allowed) = self else { return Ok(()) };
        if allowed.iter().any(|domain| is_within(&destination.host, domain)) {
            return Ok(());
        }
        let error = format!(
            "the host {} is not among the allowed hosts of this client; nothing was sent",
            destination.host
        );
        Err(Error::new(ErrorKind::Request, "host_not_allowed", error)
            .with_advice("check the URL, or add the host to `allowed_hosts` of the client"))
    }

    /// Returns true if a request leaves the host of the resource, and no list of hosts allows it.
    pub(crate) fn is_suspicious(&self, destination: &Destination, resource_host: Option<&str>) -> bool {
        matches!(self, Self::Unspecified)
            && resource_host.is_some_and(|domain| !is_within(&destination.host, domain))
    }
}

/// Returns the host of a resource. That of an `api://` resource is the id of an application.
pub(crate) fn resource_host(resource: &str) -> Option<String> {
    let url = Uri::try_from(resource).ok().filter(|url| url.scheme_str() == Some("https"));
    url?.host().map(str::to_ascii_lowercase)
}

/// Returns true if `host` is the domain or one of its subdomains. An address has none.
fn is_within(host: &str, domain: &str) -> bool {
    match host.strip_suffix(domain) {
        Some("") => true,
        Some(rest) => rest.ends_with('.') && domain.parse::<std::net::IpAddr>().is_err(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(url: &str) -> Result<Destination, Error> {
        Destination::of(&url.parse().unwrap())
    }

    #[test]
    fn only_https_urls_have_a_destination() {
        for (url, expected) in [
            ("https://Vault.Example./x", Ok("vault.example:443")),
            ("https://[::1]:8443/", Ok("[::1]:8443")),
            ("http://vault.example/", Err("insecure_endpoint")),
            ("ws://vault.example/", Err("insecure_endpoint")),
            ("/x", Err("invalid_request")),
            ("vault.example", Err("invalid_request")),
            ("https://a@vault.example/", Err("invalid_request")),
            ("https://vault.example@evil.example/", Err("invalid_request")),
        ] {
            let found = destination(url).map(|found| found.to_string());
            assert_eq!(found.as_deref().map_err(Error::code), expected, "{url}");
        }
    }

    #[test]
    fn allowed_hosts_include_subdomains() {
        let allowed = AllowedHosts::only(["Vault.example", "127.0.0.1"]);
        for (url, is_allowed) in [
            ("https://vault.example/", true),
            ("https://contoso.VAULT.example./", true),
            ("https://127.0.0.1:8443/", true),
            ("https://evilvault.example/", false),
            ("https://vault.example.evil.example/", false),
            ("https://1.127.0.0.1.example/", false),
        ] {
            assert_eq!(allowed.check(&destination(url).unwrap()).is_ok(), is_allowed, "{url}");
        }
        for host in ["", "https://vault.example", "*.vault.example", "vault.example:443", "a b"] {
            assert_eq!(AllowedHosts::only([host]).invalid(), Some(host), "{host}");
        }
        assert_eq!(AllowedHosts::only(["vault.example", "127.0.0.1", "[::1]"]).invalid(), None);
    }

    #[test]
    fn other_hosts_than_the_resource_are_suspicious() {
        let any = AllowedHosts::default();
        for (url, resource, is_suspicious) in [
            ("https://contoso.vault.example/", "https://vault.example", false),
            ("https://contoso.vault.example/", "https://vault.example/.default", false),
            ("https://evil.example/", "https://vault.example", true),
            ("https://evil.example/", "api://11111111-2222-4333-8444-555555555555", false),
            ("https://evil.example/", "User.Read Mail.Read", false),
        ] {
            let host = resource_host(resource);
            let found = any.is_suspicious(&destination(url).unwrap(), host.as_deref());
            assert_eq!(found, is_suspicious, "{url}");
        }
        for allowed in [AllowedHosts::only(["evil.example"]), AllowedHosts::Any] {
            let evil = destination("https://evil.example/").unwrap();
            assert!(allowed.check(&evil).is_ok() && !allowed.is_suspicious(&evil, Some("vault.example")));
        }
    }
}
