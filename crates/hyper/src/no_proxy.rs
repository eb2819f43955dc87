//! Hosts that bypass the proxy.

use std::net::IpAddr;

use url::Host;

use crate::origin::HttpOrigin;

/// The exceptions from a proxy, in the forms that curl and Go read: domains, addresses and
/// networks, each with an optional port, or `*`, separated by commas or spaces.
#[derive(Debug, Default)]
pub(crate) struct NoProxy(Vec<Exception>);

#[derive(Debug, PartialEq, Eq)]
struct Exception {
    hosts: ExceptedHosts,
    /// `None` for all ports.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum ExceptedHosts {
    All,
    /// A domain, without a dot at either end, and its subdomains.
    Domain(String),
    /// The subdomains of a domain.
    Subdomains(String),
    /// An address, and the number of leading bits that must match.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Reads a list. Returns the entries that are in none of the forms, too.
    pub(crate) fn parse(list: &str) -> (Self, Vec<&str>) {
        let mut exceptions = Vec::new();
        let mut unread = Vec::new();
        let entries = list.split(|separator: char| separator == ',' || separator.is_whitespace());
        for entry in entries.filter(|entry| !entry.is_empty()) {
            match Exception::parse(entry) {
                Some(exception) => exceptions.push(exception),
                None => unread.push(entry),
            }
        }
        (Self(exceptions), unread)
    }

    /// Returns true if requests to the origin bypass the proxy.
    pub(crate) fn contains(&self, origin: &HttpOrigin) -> bool {
        self.0.iter().any(|exception| exception.matches(origin))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        // An IPv6 address without brackets has no port.
        let (hosts, port) = match entry.rsplit_once(':') {
            Some((hosts, port)) if !hosts.contains(':') || hosts.ends_with(']') => {
                (hosts, Some(port.parse().ok()?))
            }
            _ => (entry, None),
        };
        Some(Self { hosts: ExceptedHosts::parse(hosts)?, port })
    }

    fn matches(&self, origin: &HttpOrigin) -> bool {
        self.port.is_none_or(|port| port == origin.port()) && self.hosts.contains(origin.host())
    }
}

impl ExceptedHosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = address.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(address);
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let length = length.map_or(Some(most), |length| length.parse().ok())?;
            return (length <= most).then(|| Self::network(address, length));
        }
        if length.is_some() {
            return None;
        }
        let (domain, is_subdomains_only) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text.strip_prefix('.').unwrap_or(text), false),
        };
        // As in a URL, so that names outside of ASCII have the same form.
        match Host::parse(domain).ok()? {
            Host::Domain(domain) if domain.contains(['*', '"', '\'', '@', '(', ')', ';']) => None,
            Host::Domain(domain) => {
                let domain = domain.trim_end_matches('.').to_owned();
                match (domain.is_empty(), is_subdomains_only) {
                    (true, _) => None,
                    (false, true) => Some(Self::Subdomains(domain)),
                    (false, false) => Some(Self::Domain(domain)),
                }
            }
            Host::Ipv4(address) => Some(Self::Network(address.into(), 32)),
            Host::Ipv6(address) => Some(Self::network(address.into(), 128)),
        }
    }

    /// Returns the network, with IPv4 in IPv6 as IPv4.
    fn network(address: IpAddr, length: u32) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if length >= 96 => Self::Network(mapped.into(), length - 96),
            _ => Self::Network(address, length),
        }
    }

    fn contains(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(domain), Host::Domain(name)) => is_within(name, domain, true),
            (Self::Subdomains(domain), Host::Domain(name)) => is_within(name, domain, false),
            (Self::Network(network, length), Host::Ipv4(address)) => {
                is_in_network((*address).into(), *network, *length)
            }
            (Self::Network(network, length), Host::Ipv6(address)) => {
                is_in_network(IpAddr::from(*address).to_canonical(), *network, *length)
            }
            _ => false,
        }
    }
}

fn is_within(name: &str, domain: &str, includes_itself: bool) -> bool {
    match name.trim_end_matches('.').strip_suffix(domain) {
        Some("") => includes_itself,
        Some(rest) => rest.ends_with('.'),
        None => false,
    }
}

fn is_in_network(address: IpAddr, network: IpAddr, length: u32) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    // A shift by all bits is none.
    (address ^ network).checked_shr(width - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use http::Method;
    use symbolon_transport::{Request, Route};

    use super::*;

    fn excepts(list: &str, url: &str) -> bool {
        let origin = HttpOrigin::of(&Request::new(Method::GET, url.parse().unwrap(), Route::Public));
        NoProxy::parse(list).0.contains(&origin.unwrap())
    }

    #[test]
    fn exceptions_have_the_forms_of_curl_and_go() {
        for (list, excepted, proxied) in [
            ("*", &["https://a.example/", "https://10.0.0.1/", "https://[2001:db8::1]/"][..], &[][..]),
            (
                "corp.example",
                &["https://corp.example/", "https://CORP.example./", "https://a.b.corp.example:8443/"],
                &["https://notcorp.example/", "https://corp.example.evil.example/", "https://example/"],
            ),
            (
                ".corp.example",
                &["https://corp.example/", "https://a.corp.example/"],
                &["https://xcorp.example/"],
            ),
            (
                "*.corp.example",
                &["https://a.corp.example/"],
                &["https://corp.example/", "https://xcorp.example/"],
            ),
            ("Corp.Example.", &["https://corp.example/"], &["https://corp.example.a/"]),
            ("corp.example:8443", &["https://a.corp.example:8443/"], &["https://corp.example/"]),
            ("corp.example:443", &["https://corp.example/"], &["https://corp.example:8443/"]),
            ("a.example,b.example", &["https://a.example/", "https://b.example/"], &["https://c.example/"]),
            (" a.example , b.example ", &["https://a.example/", "https://b.example/"], &[]),
            ("a.example b.example\tc.example", &["https://b.example/", "https://c.example/"], &[]),
            ("10.0.0.1", &["https://10.0.0.1/", "https://[::ffff:10.0.0.1]/"], &["https://10.0.0.11/"]),
            ("10.0.0.1:8443", &["https://10.0.0.1:8443/"], &["https://10.0.0.1/"]),
            ("10.0.0.0/8", &["https://10.255.0.1/"], &["https://11.0.0.1/", "https://[a00::]/"]),
            ("10.1.2.3/8", &["https://10.255.0.1/"], &["https://11.0.0.1/"]),
            ("0.0.0.0/0", &["https://203.0.113.7/"], &["https://[2001:db8::1]/", "https://a.example/"]),
            ("10.0.0.1/32", &["https://10.0.0.1/"], &["https://10.0.0.0/"]),
            (
                "2001:db8::1",
                &["https://[2001:db8::1]/", "https://[2001:db8::1]:8443/"],
                &["https://[2001:db8::2]/"],
            ),
            ("[2001:db8::1]", &["https://[2001:db8::1]/"], &["https://[2001:db8::11]/"]),
            ("[2001:db8::1]:8443", &["https://[2001:db8::1]:8443/"], &["https://[2001:db8::1]/"]),
            (
                "2001:db8::/32",
                &["https://[2001:db8:ffff::1]/"],
                &["https://[2001:db9::1]/", "https://32.1.13.184/"],
            ),
            ("::/0", &["https://[2001:db8::1]/"], &["https://203.0.113.7/"]),
            ("::ffff:10.0.0.0/104", &["https://10.9.9.9/"], &["https://11.0.0.1/"]),
            ("bücher.example", &["https://xn--bcher-kva.example/", "https://a.bücher.example/"], &[]),
            ("a_b.example", &["https://a_b.example/"], &[]),
            ("", &[], &["https://a.example/"]),
            (",, ,", &[], &["https://a.example/"]),
        ] {
            for (urls, is_excepted) in [(excepted, true), (proxied, false)] {
                for url in urls {
                    assert_eq!(excepts(list, url), is_excepted, "{list:?} {url}");
                }
            }
            assert_eq!(NoProxy::parse(list).1, [""; 0], "{list:?}");
        }
    }

    #[test]
    fn other_entries_are_returned() {
        for entry in [
            "http://a.example",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/x",
            "2001:db8::/129",
            "a.example/24",
            "a*.example",
            "10.*",
            "a.example:http",
            "a.example:99999",
            "[2001:db8::1",
            "user@a.example",
            "\"a.example\"",
            ".",
            "*.",
        ] {
            let list = format!("good.example, {entry} ,other.example");
            let (read, unread) = NoProxy::parse(&list);
            assert_eq!((unread, read.0.len()), (vec![entry], 2), "{entry}");
        }
    }
}
