//! The secret of a run.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use subtle::ConstantTimeEq;
use symbolon_types::{Error, ErrorKind, Secret};

/// Returns 256 random bits from the operating system, in base64url.
///
/// # Errors
/// `random_unavailable` if the operating system returns none.
pub fn random_secret() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        let message = "the operating system returned no random bytes for the secret of this run";
        Error::new(ErrorKind::Environment, "random_unavailable", message).with_source(error)
    })?;
    Ok(Secret::new(Base64UrlUnpadded::encode_string(&bytes)))
}

/// Compares a text of a client with a secret, in a time that depends on their lengths only.
#[must_use]
pub fn matches_secret(given: &[u8], secret: &Secret) -> bool {
    given.ct_eq(secret.expose().as_bytes()).into()
}

/// Returns true if a request has the secret: in this header, as a bearer token, or as a password,
/// which most clients send for a URL with one.
#[must_use]
pub fn has_secret(headers: &HeaderMap, header: &HeaderName, secret: &Secret) -> bool {
    let only = |name| {
        let mut values = headers.get_all(name).into_iter();
        values.next().filter(|_| values.next().is_none())
    };
    if headers.contains_key(header) {
        return only(header).is_some_and(|given| matches_secret(given.as_bytes(), secret));
    }
    let given = only(&AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
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
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        has_secret(&headers, &HeaderName::from_static("x-symbolon-secret"), &Secret::new("s3cr3t"))
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
