//! The check of `Host`.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};

/// Returns true if a request is addressed to a loopback name or address with this port. A browser
/// that was directed here by DNS rebinding sends the name of the attacker.
///
/// Over HTTP/1.1, exactly one `Host` is needed (RFC 9112 §3.2). Over HTTP/2, `:authority` replaces
/// it (RFC 9113 §8.3.1).
#[must_use]
pub fn names_loopback(head: &Parts, port: u16) -> bool {
    names(&head.uri, &head.headers, head.version, port)
}

fn names(uri: &Uri, headers: &HeaderMap, version: Version, port: u16) -> bool {
    let is_ours = |authority: &Authority| is_ours(authority, port);
    let mut hosts = headers.get_all(HOST).iter();
    let is_named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            host.to_str().ok().and_then(|host| host.parse().ok()).as_ref().is_some_and(is_ours)
        }
        (None, _) => version == Version::HTTP_2 && uri.authority().is_some(),
        _ => false,
    };
    is_named && uri.authority().is_none_or(is_ours)
}

fn is_ours(authority: &Authority, port: u16) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    // Port 80 may be left out (RFC 9110 §4.2.1).
    let same_port = authority.port().map_or(port == 80, |given| given.as_u16() == port);
    is_loopback && same_port && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(target: &str, hosts: &[&str], version: Version, port: u16) -> bool {
        let headers = hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect::<Vec<_>>();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        names(&target.parse().unwrap(), &map, version, port)
    }

    #[test]
    fn only_loopback_hosts_with_the_port_pass() {
        let check = |host: &str| is_accepted("/msi/token", &[host], Version::HTTP_11, 4711);
        for host in ["localhost:4711", "LOCALHOST:4711", "127.0.0.1:4711", "127.8.8.8:4711", "[::1]:4711"] {
            assert!(check(host), "{host}");
        }
        for host in [
            "localhost",
            "localhost:",
            "localhost:4712",
            "127.0.0.1:47110",
            "attacker.example:4711",
            "localhost.attacker.example:4711",
            "127.0.0.1.attacker.example:4711",
            "x@127.0.0.1:4711",
            "10.0.0.1:4711",
            "0.0.0.0:4711",
            "[::]:4711",
            "[::ffff:127.0.0.1]:4711",
            "",
            "a b",
        ] {
            assert!(!check(host), "{host}");
        }
        assert!(!is_accepted("/", &[], Version::HTTP_11, 4711));
        assert!(!is_accepted("/", &["localhost:4711", "localhost:4711"], Version::HTTP_11, 4711));
        assert!(is_accepted("/", &["localhost"], Version::HTTP_11, 80));
    }

    #[test]
    fn absolute_target_is_checked_too() {
        let check = |target| is_accepted(target, &["localhost:4711"], Version::HTTP_11, 4711);
        assert!(!check("http://attacker.example:4711/msi/token"));
        assert!(check("http://127.0.0.1:4711/msi/token"));
    }

    #[test]
    fn http2_needs_the_authority_only() {
        let check = |target, version| is_accepted(target, &[], version, 4711);
        assert!(check("http://127.0.0.1:4711/x", Version::HTTP_2));
        assert!(!check("http://127.0.0.1:4711/x", Version::HTTP_11), "HTTP/1.1 needs Host");
        assert!(!check("http://attacker.example:4711/x", Version::HTTP_2));
        assert!(!check("/x", Version::HTTP_2));
        let both = |hosts| is_accepted("http://127.0.0.1:4711/x", hosts, Version::HTTP_2, 4711);
        assert!(both(&["localhost:4711"]));
        assert!(!both(&["attacker.example:4711"]));
    }
}
