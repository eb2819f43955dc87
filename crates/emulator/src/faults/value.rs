//! The values in fault files. Each reports an invalid value at its position.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::protocol::{Server, Step};

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

/// The name of a server with TLS.
pub(super) struct ServerValue(pub(super) Server);

impl<'de> Deserialize<'de> for ServerValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let servers = [Server::Token, Server::Resource, Server::ServiceFabric];
        servers.into_iter().find(|server| server.name() == name).map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "there is no server `{name}` with TLS; the servers are {}",
                servers.map(Server::name).join(", ")
            ))
        })
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

/// A number or a text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a text")]
enum NumberOrText {
    Number(i64),
    Text(String),
}

/// The name or the number of a TLS alert.
pub(super) struct AlertValue(pub(super) u8);

impl<'de> Deserialize<'de> for AlertValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(number) => u8::try_from(number)
                .map(Self)
                .map_err(|_| D::Error::custom(format_args!("{number} is not the number of a TLS alert"))),
            NumberOrText::Text(name) => {
                let alert = ALERTS.iter().find(|(alert, _)| *alert == name);
                alert.map(|(_, number)| Self(*number)).ok_or_else(|| {
                    let names: Vec<_> = ALERTS.iter().map(|(name, _)| *name).collect();
                    D::Error::custom(format_args!(
                        "there is no alert `{name}`; the names are {}",
                        names.join(", ")
                    ))
                })
            }
        }
    }
}

/// A number of times, `always`, or `until-satisfied`.
pub(super) enum TimesValue {
    N(u64),
    Always,
    UntilSatisfied,
}

impl<'de> Deserialize<'de> for TimesValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(0) => Err(D::Error::custom("a fault must apply at least once")),
            NumberOrText::Number(times) => u64::try_from(times)
                .map(Self::N)
                .map_err(|_| D::Error::custom(format_args!("{times} is not a number of times"))),
            NumberOrText::Text(text) if text == "always" => Ok(Self::Always),
            NumberOrText::Text(text) if text == "until-satisfied" => Ok(Self::UntilSatisfied),
            NumberOrText::Text(text) => {
                Err(D::Error::custom(format_args!("`{text}` is not a number of times, nor \"always\"")))
            }
        }
    }
}

/// A duration: seconds, or a text such as `500ms`, `2s`, `5m`, `1h`, `7d`.
pub(super) struct DurationValue(pub(super) Duration);

impl<'de> Deserialize<'de> for DurationValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = u64::try_from(milliseconds(deserializer)?);
        let milliseconds = milliseconds.map_err(|_| D::Error::custom("a duration is not negative"))?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// A clock skew in whole seconds: a duration, negative if the clock is behind.
pub(super) struct SkewValue(pub(super) i64);

impl<'de> Deserialize<'de> for SkewValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        milliseconds(deserializer).map(|milliseconds| Self(milliseconds / 1000))
    }
}

/// Reads a duration in milliseconds, up to a century.
fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    const CENTURY: i64 = 100 * 366 * 24 * 60 * 60 * 1000;
    let (number, unit) = match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(seconds) => (seconds, 1000),
        NumberOrText::Text(text) => parse_duration(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a duration: write \"500ms\", \"2s\", \"5m\", \"1h\" or \"7d\""
            ))
        })?,
    };
    let milliseconds = number.checked_mul(unit).filter(|product| product.abs() <= CENTURY);
    milliseconds.ok_or_else(|| D::Error::custom("a duration is at most a century"))
}

/// Splits a duration into its number and its unit in milliseconds.
fn parse_duration(text: &str) -> Option<(i64, i64)> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    Some((number.trim().parse().ok()?, unit))
}
