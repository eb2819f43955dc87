//! The secret of a run.

use base64ct::{Base64UrlUnpadded, Encoding};
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
