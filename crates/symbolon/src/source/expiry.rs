//! The lifetime of a token, in all formats that sources use. (docs/protocol/sources.md#expiry)

use std::time::{Duration, SystemTime};

use serde_json::Value;
use symbolon_types::ClockReading;

/// 2001-01-01 in Unix seconds. A smaller `expires_on` is a lifetime.
const EARLIEST_EXPIRY: u64 = 978_307_200;
const DAY: i64 = 24 * 60 * 60;

/// 5138-11-16 in Unix seconds, and 1973-03-03 in milliseconds. A later `expires_on` is not in
/// seconds.
const LATEST_EXPIRY: u64 = 100_000_000_000;

/// The reason why a token has no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifetimeError {
    /// There is no expiry, or it cannot be read.
    Missing,
    /// The token expired this long ago.
    Expired(Duration),
    /// `expires_on` is in milliseconds, or not a time at all.
    NotInSeconds,
}

/// Returns the lifetime in `expires_on` or in `expires_in`; if both can be read, the shorter one.
/// `now` is the time of the clock that `expires_on` is from.
pub(crate) fn lifetime(
    expires_on: &Value,
    expires_in: &Value,
    now: SystemTime,
) -> Result<Duration, LifetimeError> {
    let until = |unix| match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix)) {
        Some(end) => end.duration_since(now).map_err(|past| LifetimeError::Expired(past.duration())),
        None => Err(LifetimeError::NotInSeconds),
    };
    let of_end = match seconds(expires_on) {
        Some(seconds) if seconds >= LATEST_EXPIRY => return Err(LifetimeError::NotInSeconds),
        Some(seconds) if seconds < EARLIEST_EXPIRY => Some(Duration::from_secs(seconds)),
        Some(seconds) => Some(until(seconds)?),
        None => match expires_on.as_str().and_then(date) {
            Some(unix) => Some(until(u64::try_from(unix).unwrap_or_default())?),
            None => None,
        },
    };
    let of_length = seconds(expires_in).map(Duration::from_secs);
    let shorter = match (of_end, of_length) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    match shorter {
        Some(Duration::ZERO) => Err(LifetimeError::Expired(Duration::ZERO)),
        Some(lifetime) => Ok(lifetime),
        None => Err(LifetimeError::Missing),
    }
}

impl LifetimeError {
    /// Returns the end of a sentence about a token, and advice if it is not about the program that
    /// sent it. `date` is the time of the source, if it stated one.
    pub(crate) fn describe(self, now: ClockReading, date: Option<SystemTime>) -> (String, Option<String>) {
        let Self::Expired(ago) = self else {
            let problem = match self {
                Self::Missing => "without an expiry",
                _ => "whose `expires_on` is not in Unix seconds; milliseconds are not supported",
            };
            return (problem.to_owned(), None);
        };
        let advice = match date.map(|date| now.skew(date)) {
            None => "check the clock of this machine, and that of the source".to_owned(),
            Some(None) => "the clocks of this machine and of the source agree: try again later".to_owned(),
            Some(Some((difference, is_ahead))) => format!(
                "the clock of this machine is {} seconds {} that of the source: synchronize them",
                difference.as_secs(),
                if is_ahead { "ahead of" } else { "behind" }
            ),
        };
        (format!("that expired {} seconds ago by the clock", ago.as_secs()), Some(advice))
    }
}

/// Reads seconds from a number or its text, with or without a fraction.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let whole = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.as_secs());
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

/// Returns the Unix seconds of a date: RFC 3339, or a format of older hosts, `MM/dd/yyyy HH:mm:ss`
/// or `yyyy-MM-dd HH:mm:ss`, with or without `AM` or `PM` and an offset. A date without a zone is
/// in UTC.
fn date(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (year, month, day) = if date.contains('/') {
        let [month, day, year] = numbers(date, '/')?;
        (year, month, day)
    } else {
        let [year, month, day] = numbers(date, '-')?;
        (year, month, day)
    };
    let clock_end = time.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(time.len());
    let (clock, rest) = time.split_at(clock_end);
    let [hour, minute, second] = numbers(clock, ':')?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let rest = rest.trim();
    let (hour, zone) = match day_half(rest) {
        // Noon and midnight are the twelfth hour. Some hosts write `PM` after an hour above 12.
        Some((is_afternoon, zone)) => (if hour > 12 { hour } else { hour % 12 + 12 * is_afternoon }, zone),
        None => (hour, rest),
    };
    let is_date =
        (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // Sixty is a leap second (RFC 3339 §5.7).
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(seconds - offset(zone)?)
}

/// Splits a text into three numbers.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let is_number = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<i64>().ok()).flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Returns 1 for `PM` and 0 for `AM`, and the rest of the text.
fn day_half(text: &str) -> Option<(i64, &str)> {
    let (half, rest) = text.split_at_checked(2)?;
    let is_afternoon = match half.to_ascii_uppercase().as_str() {
        "AM" => 0,
        "PM" => 1,
        _ => return None,
    };
    Some((is_afternoon, rest.trim_start()))
}

/// Returns the seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = (digits[..2].parse::<i64>().ok()?, digits[2..].parse::<i64>().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Returns the days since 1970-01-01. Counts years from March, so that the leap day is the last day
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn lifetime_is_read_in_every_format() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (expires_on, expires_in, expected) in [
            (json!("1700003600"), json!("99"), Some(99)),
            (json!("1700003600"), json!("9999"), Some(3600)),
            (json!(1_700_003_600), Value::Null, Some(3600)),
            (json!(1_700_003_600.75), Value::Null, Some(3600)),
            (json!("1700003600.75"), Value::Null, Some(3600)),
            (json!(""), json!("3599"), Some(3599)),
            (Value::Null, json!(3599), Some(3599)),
            (Value::Null, json!(3599.9), Some(3599)),
            (json!("3600"), Value::Null, Some(3600)),
            (json!("86400"), Value::Null, Some(86_400)),
            (json!("0"), Value::Null, Some(0)),
            (json!("1600000000"), json!("3599"), None),
            // 1700000000 is 2023-11-14T22:13:20Z.
            (json!("2023-11-14T23:13:20Z"), Value::Null, Some(3600)),
            (json!("2023-11-14t23:13:20z"), Value::Null, Some(3600)),
            (json!("2023-11-14T23:13:20.1234567Z"), Value::Null, Some(3600)),
            (json!("2023-11-14T23:13:20"), Value::Null, Some(3600)),
            (json!("2023-11-15T01:13:20+02:00"), Value::Null, Some(3600)),
            (json!("2023-11-14T15:43:20-0730"), Value::Null, Some(3600)),
            (json!("2023-11-14 23:13:20"), Value::Null, Some(3600)),
            (json!("2023-11-14 23:13:20 +00:00"), Value::Null, Some(3600)),
            (json!("11/14/2023 23:13:20"), Value::Null, Some(3600)),
            (json!("11/14/2023 23:13:20 +00:00"), Value::Null, Some(3600)),
            (json!("11/14/2023 11:13:20 PM +00:00"), Value::Null, Some(3600)),
            (json!("11/14/2023 23:13:20 PM +00:00"), Value::Null, Some(3600)),
            (json!("11/15/2023 12:13:20 AM"), Value::Null, Some(7200)),
            (json!("11/15/2023 12:13:20 PM"), Value::Null, Some(50_400)),
            (json!("11/15/2023 2:3:4 AM"), Value::Null, Some(13_784)),
            (json!("2023-11-14T22:13:20Z"), json!("3599"), Some(0)),
            (json!("2023-11-14T21:13:20Z"), json!("3599"), None),
            (json!("11/14/2023 21:13:20"), Value::Null, None),
            (json!("soon"), Value::Null, None),
            (json!("soon"), json!("3599"), Some(3599)),
            (json!(-1), Value::Null, None),
            (json!(true), Value::Null, None),
            (Value::Null, Value::Null, None),
        ] {
            let read = lifetime(&expires_on, &expires_in, now).ok().map(|lifetime| lifetime.as_secs());
            assert_eq!(read, expected.filter(|lifetime| *lifetime > 0), "{expires_on} {expires_in}");
        }
    }

    #[test]
    fn shorter_lifetime_counts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (expires_on, expires_in, expected) in [
            (1_700_003_600, 3599, Ok(3599)),
            (1_700_000_100, 3599, Ok(100)),
            // From a clock that is two hours ahead of `now`.
            (1_700_010_800, 3600, Ok(3600)),
            (3600, 60, Ok(60)),
            (1_699_999_940, 3600, Err(LifetimeError::Expired(Duration::from_secs(60)))),
            (1_700_003_600, 0, Err(LifetimeError::Expired(Duration::ZERO))),
            (1_700_003_600_000, 3600, Err(LifetimeError::NotInSeconds)),
            (u64::MAX, 3600, Err(LifetimeError::NotInSeconds)),
        ] {
            let read = lifetime(&json!(expires_on), &json!(expires_in), now);
            assert_eq!(read.map(|lifetime| lifetime.as_secs()), expected, "{expires_on} {expires_in}");
        }
        let text = json!("1700003600000");
        assert_eq!(lifetime(&text, &Value::Null, now), Err(LifetimeError::NotInSeconds));
        assert_eq!(lifetime(&Value::Null, &Value::Null, now), Err(LifetimeError::Missing));
    }

    #[test]
    fn invalid_dates_are_not_read() {
        for text in [
            "",
            "2023-11-14",
            "2023-13-14T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2023-11-31T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T23:60:00Z",
            "2023-11-14T23:13:20+25:00",
            "2023-11-14T23:13:20 Europe/Berlin",
            "2023-11-14T23:13:20é",
            "2023-11-14T23:13",
            "14/11/2023 23:13:20",
            "2023-11-14-01T23:13:20Z",
            "+2023-11-14T23:13:20Z",
            "99999-11-14T23:13:20Z",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(date("2000-02-29T12:34:56Z"), Some(951_827_696));
        assert_eq!(date("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date("0001-01-01T00:00:00Z"), Some(-62_135_596_800));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _read = date(&text);
        }

        #[test]
        fn days_are_consecutive(days in -700_000_i64..2_900_000) {
            // The expected date comes from counting days, a rule that the code does not use.
            let (mut year, mut rest) = (1970, days);
            while rest < 0 {
                year -= 1;
                rest += days_in(year);
            }
            while rest >= days_in(year) {
                rest -= days_in(year);
                year += 1;
            }
            let mut month = 1;
            while rest >= days_of(year, month) {
                rest -= days_of(year, month);
                month += 1;
            }
            prop_assert_eq!(days_since_epoch(year, month, rest + 1), days);
        }
    }

    fn days_in(year: i64) -> i64 {
        (1..=12).map(|month| days_of(year, month)).sum()
    }
}
