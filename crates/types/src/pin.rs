//! Pinned server certificates.

use std::fmt;
use std::str::FromStr;

/// The SHA-1 thumbprint of a server certificate, which authenticates the server instead of a name
/// and an issuer.
///
/// Azure Service Fabric passes the thumbprint of its self-signed endpoint certificate in
/// `IDENTITY_SERVER_THUMBPRINT`, and thereby chooses SHA-1. A transport must also verify the
/// signature of the handshake, because a certificate is public.
///
/// ```
/// # use symbolon_types::CertificatePin;
/// let pin: CertificatePin = "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d".parse()?;
/// assert_eq!(pin.to_string(), "A9993E364706816ABA3E25717850C26C9CD0D89D");
/// # Ok::<(), symbolon_types::InvalidCertificatePin>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificatePin([u8; 20]);

impl CertificatePin {
    /// Creates a pin from the bytes of the digest.
    #[must_use]
    pub fn from_sha1(digest: [u8; 20]) -> Self {
        Self(digest)
    }

    /// Returns true if `digest` equals the pin. Runs in constant time.
    #[must_use]
    pub fn matches(&self, digest: [u8; 20]) -> bool {
        self.0.iter().zip(digest).fold(0, |differences, (own, other)| differences | (own ^ other)) == 0
    }
}

/// Writes forty hexadecimal digits, as certificate stores do.
impl fmt::Display for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificatePin({self})")
    }
}

/// The error of parsing a text that is not forty hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidCertificatePin;

impl fmt::Display for InvalidCertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a certificate thumbprint must have forty hexadecimal digits")
    }
}

impl std::error::Error for InvalidCertificatePin {}

/// Ignores colons and white space between the digits.
impl FromStr for CertificatePin {
    type Err = InvalidCertificatePin;

    fn from_str(text: &str) -> Result<Self, InvalidCertificatePin> {
        let mut digest = [0; 20];
        let mut count = 0;
        for character in text.chars().filter(|character| *character != ':' && !character.is_whitespace()) {
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let digit = digit.ok_or(InvalidCertificatePin)?;
            let byte = digest.get_mut(count / 2).ok_or(InvalidCertificatePin)?;
            *byte = *byte << 4 | digit;
            count += 1;
        }
        if count == 2 * digest.len() { Ok(Self(digest)) } else { Err(InvalidCertificatePin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc | openssl dgst -sha1`
    const ABC: [u8; 20] = [
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c,
        0xd0, 0xd8, 0x9d,
    ];

    #[test]
    fn separators_are_ignored() {
        for text in [
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
            " a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d\n",
            "a9 99 3e 36 47 06 81 6a ba 3e 25 71 78 50 c2 6c 9c d0 d8 9d",
        ] {
            assert_eq!(text.parse(), Ok(CertificatePin::from_sha1(ABC)), "{text}");
        }
        for text in [
            "",
            "a9993e364706816aba3e25717850c26c9cd0d89",
            "a9993e364706816aba3e25717850c26c9cd0d89d0",
            "a9993e364706816aba3e25717850c26c9cd0d89g",
            "a9993e364706816aba3e25717850c26c9cd0d8-9d",
            // A SHA-256 thumbprint.
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert_eq!(text.parse::<CertificatePin>(), Err(InvalidCertificatePin), "{text}");
        }
    }

    #[test]
    fn pin_matches_equal_digest_only() {
        let pin = CertificatePin::from_sha1(ABC);
        assert!(pin.matches(ABC));
        for position in [0, 10, 19] {
            let mut other = ABC;
            other[position] ^= 1;
            assert!(!pin.matches(other), "{position}");
        }
    }
}
