//! Certificate thumbprints.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

/// Length of the text form: 32 bytes in unpadded base64url.
const TEXT_LENGTH: usize = 43;

/// The SHA-256 digest of a certificate's DER: `x5t#S256` of RFC 7515 §4.1.8 and RFC 8705 §3.1.
///
/// It identifies the certificate, not its key: a renewed certificate for the same key has another
/// thumbprint, because a token service binds tokens to the certificate.
///
/// ```
/// # use symbolon_types::Thumbprint;
/// let thumbprint = Thumbprint::of(b"not really a certificate");
/// assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Computes the thumbprint of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Returns the 32 bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Writes the unpadded base64url form, as in `cnf["x5t#S256"]`.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; TEXT_LENGTH];
        let text = Base64UrlUnpadded::encode(&self.0, &mut buffer).map_err(|_| fmt::Error)?;
        f.pad(text)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// The error of parsing a text that is not 43 characters of unpadded base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an x5t#S256 thumbprint is 43 characters of unpadded base64url")]
#[non_exhaustive]
pub struct InvalidThumbprint;

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let mut bytes = [0; 32];
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(InvalidThumbprint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_unpadded_base64url() {
        // printf '' | openssl dgst -sha256 -binary | base64, in the URL alphabet.
        let empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(Thumbprint::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Thumbprint::of(b"")));
        assert_eq!(Thumbprint::of(b"abc").to_string(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }

    #[test]
    fn other_texts_do_not_parse() {
        for text in [
            "",
            "abc",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        ] {
            assert_eq!(text.parse::<Thumbprint>(), Err(InvalidThumbprint), "{text}");
        }
    }
}
