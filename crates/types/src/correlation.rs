//! Correlation ids.

use std::fmt;
use std::str::FromStr;

/// A random UUID (RFC 9562 §5.4) that identifies one token request in the logs of all services.
///
/// It is sent as `client-request-id` to token services and as `x-ms-client-request-id` to metadata
/// services; Azure support asks for it. It is not secret and may be logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId([u8; 16]);

impl CorrelationId {
    /// Returns a new random id, or the nil UUID if the operating system's random source fails.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            return Self([0; 16]);
        }
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

/// Writes the lower-case, hyphenated form.
impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

/// The error of parsing a text that is not a hyphenated UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a correlation id is a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
#[non_exhaustive]
pub struct InvalidCorrelationId;

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    fn from_str(text: &str) -> Result<Self, InvalidCorrelationId> {
        let groups_hold = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !groups_hold {
            return Err(InvalidCorrelationId);
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let value = u128::from_str_radix(&digits, 16).map_err(|_| InvalidCorrelationId)?;
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_id_is_a_version_4_uuid() {
        let text = CorrelationId::random().to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
    }

    #[test]
    fn two_ids_differ() {
        assert_ne!(CorrelationId::random(), CorrelationId::random());
    }

    #[test]
    fn text_form_parses_back() {
        let id = CorrelationId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            "751A212B-4003-416E-B600-E1F48E40DB9F".parse::<CorrelationId>().map(|id| id.to_string()),
            Ok("751a212b-4003-416e-b600-e1f48e40db9f".into())
        );
        for text in [
            "",
            "751a212b4003416eb600e1f48e40db9f",
            "751a212b-4003-416e-b600-e1f48e40db9g",
            "+51a212b-4003-416e-b600-e1f48e40db9f",
        ] {
            assert!(text.parse::<CorrelationId>().is_err(), "{text}");
        }
    }
}
