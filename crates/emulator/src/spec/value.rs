//! Values that can be wrong: each says so where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::step::Step;

/// Names of the alerts that a server has reason to send (RFC 8446 §6).
const ALERTS: &[(&str, u8)] = &[
    ("handshake_failure", 40),
    ("bad_certificate", 42),
    ("unsupported_certificate", 43),
    ("certificate_revoked", 44),
    ("certificate_expired", 45),
    ("certificate_unknown", 46),
    ("unknown_ca", 48),
    ("access_denied", 49),
    ("protocol_version", 70),
    ("internal_error", 80),
    ("certificate_required", 116),
];

/// A step, by its name.
pub(super) struct StepName(pub(super) Step);

impl<'de> Deserialize<'de> for StepName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// An HTTP status that ends an exchange.
pub(super) struct Status(pub(super) u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            status @ 200..=599 => Ok(Self(u16::try_from(status).unwrap_or_default())),
            other => Err(D::Error::custom(format_args!("{other} is not an HTTP status from 200 to 599"))),
        }
    }
}

/// Headers that HTTP allows.
pub(super) struct Headers(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
        for (name, value) in &headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(D::Error::custom(format_args!("`{name}` is not a header of HTTP")));
            }
        }
        Ok(Self(headers))
    }
}

/// An alert, by name or by number.
pub(super) struct Alert(pub(super) u8);

impl<'de> Deserialize<'de> for Alert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = Alert;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a TLS alert")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Alert, E> {
                u8::try_from(number)
                    .map(Alert)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Alert, E> {
                u8::try_from(number)
                    .map(Alert)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Alert, E> {
                let known = ALERTS.iter().find(|(known, _)| *known == name);
                known.map(|(_, number)| Alert(*number)).ok_or_else(|| {
                    let names: Vec<_> = ALERTS.iter().map(|(name, _)| *name).collect();
                    E::custom(format_args!("there is no alert `{name}`; the names are {}", names.join(", ")))
                })
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

/// How often.
pub(super) enum Times {
    N(u64),
    Always,
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAlways;
        impl Visitor<'_> for NumberOrAlways {
            type Value = Times;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of times, or \"always\"")
            }

            fn visit_i64<E: Error>(self, times: i64) -> Result<Times, E> {
                u64::try_from(times)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(times), &self))
                    .and_then(|times| self.visit_u64(times))
            }

            fn visit_u64<E: Error>(self, times: u64) -> Result<Times, E> {
                if times == 0 {
                    return Err(E::custom("a fault happens at least once"));
                }
                Ok(Times::N(times))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Times, E> {
                match text {
                    "always" => Ok(Times::Always),
                    _ => Err(E::custom(format_args!("`{text}` is not a number of times, nor \"always\""))),
                }
            }
        }
        deserializer.deserialize_any(NumberOrAlways)
    }
}

/// A duration: seconds, or a text such as `500ms`, `2s`, `5m`, `1h`, `7d`.
pub(super) struct Length(pub(super) Duration);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = deserializer.deserialize_any(Milliseconds)?;
        let milliseconds =
            u64::try_from(milliseconds).map_err(|_| D::Error::custom("a duration is not negative"))?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// A difference of clocks, in whole seconds; written as a duration, with a sign before it where it is behind.
pub(super) struct Skew(pub(super) i64);

impl<'de> Deserialize<'de> for Skew {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Milliseconds).map(|milliseconds| Self(milliseconds / 1000))
    }
}

/// Reads a duration as milliseconds, at most a century of them.
struct Milliseconds;

impl Milliseconds {
    const CENTURY: i64 = 100 * 366 * 24 * 60 * 60 * 1000;

    fn scaled<E: Error>(number: i64, unit: i64) -> Result<i64, E> {
        let milliseconds = number.checked_mul(unit).filter(|product| product.abs() <= Self::CENTURY);
        milliseconds.ok_or_else(|| E::custom("a duration is at most a century"))
    }
}

impl Visitor<'_> for Milliseconds {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration: a number of seconds, or a text such as \"500ms\", \"2s\", \"5m\", \"1h\", \"7d\"",
        )
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<i64, E> {
        Self::scaled(seconds, 1000)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<i64, E> {
        Self::scaled(i64::try_from(seconds).unwrap_or(i64::MAX), 1000)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60 * 1000),
            "h" => Some(60 * 60 * 1000),
            "d" => Some(24 * 60 * 60 * 1000),
            _ => None,
        };
        let (Some(unit), Ok(number)) = (unit, number.trim().parse()) else {
            return Err(E::custom(format_args!(
                "`{text}` is not a duration: write \"500ms\", \"2s\", \"5m\", \"1h\" or \"7d\""
            )));
        };
        Self::scaled(number, unit)
    }
}
