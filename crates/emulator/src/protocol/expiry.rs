//! The formats of token expiries (docs/protocol/sources.md#expiry).

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use crate::calendar::{after, timestamp, unix};

/// The format of the expiry in a token response. All of these occur in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExpiryFormat {
    /// `expires_on`, Unix seconds as text.
    UnixText,
    /// `expires_on`, Unix seconds as a number.
    UnixNumber,
    /// `expires_on` as `2023-11-14T22:13:20Z`.
    Rfc3339,
    /// `expires_on` as `2023-11-14 22:13:20`, in UTC without an offset.
    IsoDate,
    /// `expires_on` as `11/14/2023 22:13:20`, in UTC without an offset.
    AmericanDate,
    /// `expires_in` only.
    Lifetime,
}

impl ExpiryFormat {
    /// Returns the member of the response for a token with this lifetime.
    pub(crate) fn member(self, now: SystemTime, lifetime: Duration) -> (&'static str, Value) {
        let expires_on = after(now, lifetime);
        let date = timestamp(expires_on);
        let date = date.trim_end_matches('Z');
        let value = match self {
            Self::UnixText => unix(expires_on).to_string().into(),
            Self::UnixNumber => unix(expires_on).into(),
            Self::Rfc3339 => (date.replace(' ', "T") + "Z").into(),
            Self::IsoDate => date.into(),
            Self::AmericanDate => {
                format!("{}/{}/{}{}", &date[5..7], &date[8..10], &date[..4], &date[10..]).into()
            }
            Self::Lifetime => return ("expires_in", lifetime.as_secs().to_string().into()),
        };
        ("expires_on", value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_express_the_same_instant() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let lifetime = Duration::from_secs(3600);
        for (format, name, value) in [
            (ExpiryFormat::UnixText, "expires_on", "1700003600".into()),
            (ExpiryFormat::UnixNumber, "expires_on", Value::from(1_700_003_600)),
            (ExpiryFormat::Rfc3339, "expires_on", "2023-11-14T23:13:20Z".into()),
            (ExpiryFormat::IsoDate, "expires_on", "2023-11-14 23:13:20".into()),
            (ExpiryFormat::AmericanDate, "expires_on", "11/14/2023 23:13:20".into()),
            (ExpiryFormat::Lifetime, "expires_in", "3600".into()),
        ] {
            assert_eq!(format.member(now, lifetime), (name, value), "{format:?}");
        }
    }
}
