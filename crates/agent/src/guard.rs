//! The checks on `Host` and secret that every request must pass.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};
use subtle::ConstantTimeEq;
use symbolon::Secret;

use crate::rejection::Rejection;

const SECRET_HEADER: &str = "x-identity-header";

/// The guard of the token endpoint: accepts requests addressed to this agent with its secret.
pub(crate) struct RequestGuard {
    /// `None` behind a Unix socket, which browsers cannot reach.
    pub(crate) port: Option<u16>,
    pub(crate) secret: Secret,
}

impl RequestGuard {
    /// Rejects a `Host` that is not a loopback name or address with the agent's port. A browser
    /// that was directed here by DNS rebinding sends the attacker's name.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        let Some(port) = self.port else { return Ok(()) };
        let mut hosts = headers.get_all(HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
            _ => None,
        };
        let is_ours = |authority: &Authority| is_ours(authority, port);
        if named.as_ref().is_some_and(is_ours) && uri.authority().is_none_or(is_ours) {
            return Ok(());
        }
        Err(Rejection::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host",
            "The Host header does not name this agent: use the URL in IDENTITY_ENDPOINT",
        ))
    }

    /// Rejects a missing, repeated or wrong secret. The comparison takes constant time.
    pub(crate) fn check_secret(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let mut given = headers.get_all(SECRET_HEADER).iter();
        let is_right = match (given.next(), given.next()) {
            (Some(given), None) => bool::from(given.as_bytes().ct_eq(self.secret.expose().as_bytes())),
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        Err(Rejection::new(
            StatusCode::UNAUTHORIZED,
            "secret",
            "The X-IDENTITY-HEADER header is missing or wrong: send the value of IDENTITY_HEADER, which changes with \
             every run of the agent",
        ))
    }
}

fn is_ours(authority: &Authority, port: u16) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    // Port 80 may be left out (RFC 9110 §4.2.1).
    let same_port = authority.port().map_or(port == 80, |given| given.as_u16() == port);
    is_loopback && same_port && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(port: Option<u16>) -> RequestGuard {
        RequestGuard { port, secret: Secret::new("s3cr3t") }
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_loopback_hosts_with_the_port_pass() {
        let uri = Uri::from_static("/msi/token");
        for host in ["localhost:4711", "LOCALHOST:4711", "127.0.0.1:4711", "127.8.8.8:4711", "[::1]:4711"] {
            assert!(guard(Some(4711)).check_host(&uri, &headers("host", &[host])).is_ok(), "{host}");
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
            assert!(guard(Some(4711)).check_host(&uri, &headers("host", &[host])).is_err(), "{host}");
        }
        assert!(guard(Some(4711)).check_host(&uri, &HeaderMap::new()).is_err());
        let twice = headers("host", &["localhost:4711", "localhost:4711"]);
        assert!(guard(Some(4711)).check_host(&uri, &twice).is_err());
        assert!(guard(Some(80)).check_host(&uri, &headers("host", &["localhost"])).is_ok());
    }

    #[test]
    fn absolute_target_is_checked_too() {
        let host = headers("host", &["localhost:4711"]);
        let elsewhere = Uri::from_static("http://attacker.example:4711/msi/token");
        assert!(guard(Some(4711)).check_host(&elsewhere, &host).is_err());
        let here = Uri::from_static("http://127.0.0.1:4711/msi/token");
        assert!(guard(Some(4711)).check_host(&here, &host).is_ok());
    }

    #[test]
    fn unix_socket_ignores_the_host() {
        assert!(guard(None).check_host(&Uri::from_static("/"), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn only_the_exact_secret_sent_once_passes() {
        let check = |values: &[&str]| guard(None).check_secret(&headers(SECRET_HEADER, values)).is_ok();
        assert!(check(&["s3cr3t"]));
        for values in [&[][..], &[""], &["s3cr3"], &["s3cr3t "], &["S3cr3t"], &["s3cr3t", "s3cr3t"]] {
            assert!(!check(values), "{values:?}");
        }
    }
}
