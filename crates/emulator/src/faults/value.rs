//! The values in fault files. Each reports an invalid value at its position.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::protocol::step::Step;

/// The names of the alerts that servers send (RFC 8446 §6).
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

/// The name of a step.
pub(super) struct StepValue(pub(super) Step);

impl<'de> Deserialize<'de> for StepValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A final HTTP status.
pub(super) struct StatusValue(pub(super) u16);

impl<'de> Deserialize<'de> for StatusValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            status @ 200..=599 => Ok(Self(u16::try_from(status).unwrap_or_default())),
            other => Err(D::Error::custom(format_args!("{other} is not an HTTP status from 200 to 599"))),
        }
    }
}

/// Valid HTTP headers.
pub(super) struct HeadersValue(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for HeadersValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
        for (name, value) in &headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(D::Error::custom(format_args!("the header `{name}` is not valid in HTTP")));
            }
        }
        Ok(Self(headers))
    }
}

/// The name or the number of a TLS alert.
pub(super) struct AlertValue(pub(super) u8);

impl<'de> Deserialize<'de> for AlertValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = AlertValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a TLS alert")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<AlertValue, E> {
                u8::try_from(number)
                    .map(AlertValue)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<AlertValue, E> {
                u8::try_from(number)
                    .map(AlertValue)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<AlertValue, E> {
                let alert = ALERTS.iter().find(|(alert, _)| *alert == name);
                alert.map(|(_, number)| AlertValue(*number)).ok_or_else(|| {
                    let names: Vec<_> = ALERTS.iter().map(|(name, _)| *name).collect();
                    E::custom(format_args!("there is no alert `{name}`; the names are {}", names.join(", ")))
                })
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

/// A number of times, or `always`.
pub(super) enum TimesValue {
    N(u64),
    Always,
}

impl<'de> Deserialize<'de> for TimesValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAlways;
        impl Visitor<'_> for NumberOrAlways {
            type Value = TimesValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of times, or \"always\"")
            }

            fn visit_i64<E: Error>(self, times: i64) -> Result<TimesValue, E> {
                u64::try_from(times)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(times), &self))
                    .and_then(|times| self.visit_u64(times))
            }

            fn visit_u64<E: Error>(self, times: u64) -> Result<TimesValue, E> {
                if times == 0 {
                    return Err(E::custom("a fault must apply at least once"));
                }
                Ok(TimesValue::N(times))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TimesValue, E> {
                match text {
                    "always" => Ok(TimesValue::Always),
                    _ => Err(E::custom(format_args!("`{text}` is not a number of times, nor \"always\""))),
                }
            }
        }
        deserializer.deserialize_any(NumberOrAlways)
    }
}

/// A duration: seconds, or a text such as `500ms`, `2s`, `5m`, `1h`, `7d`.
pub(super) struct DurationValue(pub(super) Duration);

impl<'de> Deserialize<'de> for DurationValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = deserializer.deserialize_any(DurationVisitor)?;
        let milliseconds =
            u64::try_from(milliseconds).map_err(|_| D::Error::custom("a duration is not negative"))?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// A clock skew in whole seconds: a duration, negative if the clock is behind.
pub(super) struct SkewValue(pub(super) i64);

impl<'de> Deserialize<'de> for SkewValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor).map(|milliseconds| Self(milliseconds / 1000))
    }
}

/// A visitor that reads a duration as milliseconds, up to a century.
struct DurationVisitor;

impl DurationVisitor {
    const CENTURY: i64 = 100 * 366 * 24 * 60 * 60 * 1000;

    fn scaled<E: Error>(number: i64, unit: i64) -> Result<i64, E> {
        let milliseconds = number.checked_mul(unit).filter(|product| product.abs() <= Self::CENTURY);
        milliseconds.ok_or_else(|| E::custom("a duration is at most a century"))
    }
}

impl Visitor<'_> for DurationVisitor {
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
