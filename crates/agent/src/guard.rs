//! The checks on `Host` and secret that every request must pass.

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use symbolon::Secret;
use symbolon_server::{matches_secret, names_loopback};

use crate::rejection::Rejection;

pub(crate) const SECRET_HEADER: &str = "x-identity-header";

/// The guard of the token endpoint: accepts requests addressed to this agent with its secret.
pub(crate) struct RequestGuard {
    /// `None` behind a Unix socket, which browsers cannot reach.
    pub(crate) port: Option<u16>,
    pub(crate) secret: Secret,
}

impl RequestGuard {
    /// Rejects a request whose `Host` is not a loopback name or address with the agent's port.
    pub(crate) fn check_host(&self, head: &Parts) -> Result<(), Rejection> {
        if self.port.is_none_or(|port| names_loopback(head, port)) {
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
            (Some(given), None) => matches_secret(given.as_bytes(), &self.secret),
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
    fn hosts_of_other_machines_are_rejected() {
        for (host, passes) in [("localhost:4711", true), ("attacker.example:4711", false)] {
            let head = http::Request::get("/msi/token").header("host", host).body(()).unwrap().into_parts().0;
            assert_eq!(guard(Some(4711)).check_host(&head).is_ok(), passes, "{host}");
        }
    }

    #[test]
    fn unix_socket_ignores_the_host() {
        let head = http::Request::get("/").body(()).unwrap().into_parts().0;
        assert!(guard(None).check_host(&head).is_ok());
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
