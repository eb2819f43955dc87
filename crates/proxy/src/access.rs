//! The clients that may use the proxy.

use base64ct::{Base64, Encoding};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use symbolon_server::{Peer, matches_secret, names_loopback};
use symbolon_types::Secret;

use crate::failure::ProxyFailure;
use crate::headers::SECRET_HEADER;

/// The rule by which requests are accepted.
#[derive(Debug)]
pub(crate) enum Access {
    /// On a loopback address: requests with the secret, that are addressed to this port.
    Secret { secret: Secret, port: u16 },
    /// On a Unix socket: requests of processes of these users.
    Users(Vec<u32>),
}

impl Access {
    /// Refuses a request of a client that may not use the proxy.
    pub(crate) fn check(&self, peer: Peer, head: &Parts) -> Result<(), ProxyFailure> {
        match self {
            Self::Secret { secret, port } => {
                if !names_loopback(head, *port) {
                    return Err(ProxyFailure::wrong_host());
                }
                match has_secret(&head.headers, secret) {
                    true => Ok(()),
                    false => Err(ProxyFailure::secret_required()),
                }
            }
            Self::Users(users) => match peer {
                Peer::Process { uid, .. } if users.contains(&uid) => Ok(()),
                Peer::Process { uid, .. } => Err(ProxyFailure::user_not_allowed(uid)),
                _ => Err(ProxyFailure::secret_required()),
            },
        }
    }

    /// Returns true if every request of this client is accepted.
    pub(crate) fn trusts(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Users(users), Peer::Process { uid, .. }) => users.contains(&uid),
            _ => false,
        }
    }
}

/// Returns true if a request has the secret: in its own header, as a bearer token, or as a
/// password, which most clients send for a URL with one.
fn has_secret(headers: &HeaderMap, secret: &Secret) -> bool {
    let only = |name| {
        let mut values = headers.get_all(name).into_iter();
        values.next().filter(|_| values.next().is_none())
    };
    if headers.contains_key(SECRET_HEADER) {
        return only(SECRET_HEADER).is_some_and(|given| matches_secret(given.as_bytes(), secret));
    }
    let given = only(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    match given {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => {
            matches_secret(text.trim().as_bytes(), secret)
        }
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = Base64::decode_vec(text.trim()).unwrap_or_default();
            let colon = decoded.iter().position(|byte| *byte == b':');
            colon.is_some_and(|colon| matches_secret(&decoded[colon + 1..], secret))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(fields: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        has_secret(&headers, &Secret::new("s3cr3t"))
    }

    #[test]
    fn secret_is_taken_from_three_places() {
        let basic = |text: &str| format!("Basic {}", Base64::encode_string(text.as_bytes()));
        assert!(is_accepted(&[("x-symbolon-secret", "s3cr3t")]));
        assert!(is_accepted(&[("x-symbolon-secret", "s3cr3t"), ("authorization", "Bearer eyJ")]));
        for value in ["Bearer s3cr3t", "bearer s3cr3t", &basic("x:s3cr3t"), &basic(":s3cr3t")] {
            assert!(is_accepted(&[("authorization", value)]), "{value}");
        }
        for value in [
            "Bearer s3cr3",
            "Bearer",
            "s3cr3t",
            "Digest s3cr3t",
            "Basic s3cr3t",
            &basic("s3cr3t"),
            &basic("s3cr3t:"),
        ] {
            assert!(!is_accepted(&[("authorization", value)]), "{value}");
        }
        for fields in [
            &[][..],
            &[("x-symbolon-secret", "")],
            &[("x-symbolon-secret", "s3cr3t"), ("x-symbolon-secret", "s3cr3t")],
            &[("x-symbolon-secret", "wrong"), ("authorization", "Bearer s3cr3t")],
            &[("authorization", "Bearer s3cr3t"), ("authorization", "Bearer s3cr3t")],
        ] {
            assert!(!is_accepted(fields), "{fields:?}");
        }
    }
}
