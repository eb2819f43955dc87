//! Times as dates.

use std::fmt;
use std::time::{Duration, SystemTime};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A time in whole seconds, no later than the year 9999. `Display` writes RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Returns the time of a `NumericDate` (RFC 7519 §2) without its fraction; `None` for any value
    /// that is not a time from 1970 to 9999.
    pub(crate) fn from_numeric_date(value: &serde_json::Value) -> Option<Self> {
        let seconds = value.as_u64().or_else(|| {
            let seconds = value.as_f64()?;
            Some(Duration::try_from_secs_f64(seconds).ok()?.as_secs())
        })?;
        OffsetDateTime::from_unix_timestamp(seconds.try_into().ok()?).ok().map(Self)
    }

    pub(crate) fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Returns the seconds from `now` until this time; negative for a past time.
    pub(crate) fn seconds_from(self, now: Self) -> i64 {
        (self.0 - now.0).whole_seconds()
    }

    /// Returns the distance from `now` in its two largest units, for example `in 1 h 5 min`.
    pub(crate) fn distance_from(self, now: Self) -> String {
        let distance = self.0 - now.0;
        let length = distance.abs();
        let units = [
            (length.whole_days(), "d"),
            (length.whole_hours() % 24, "h"),
            (length.whole_minutes() % 60, "min"),
            (length.whole_seconds() % 60, "s"),
        ];
        let largest = units.iter().skip_while(|(count, _)| *count == 0).take(2);
        let texts = largest.filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}"));
        let text = texts.collect::<Vec<_>>().join(" ");
        match self.seconds_from(now) {
            0 => "now".to_owned(),
            1.. => format!("in {text}"),
            _ => format!("{text} ago"),
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let time =
            seconds.try_into().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Self(time.unwrap_or(PrimitiveDateTime::MAX.assume_utc()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_match_gnu_date() {
        for (seconds, expected) in [
            (0_u64, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_numeric_date(&json!(seconds)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn other_values_are_not_dates() {
        for value in [
            json!(-1),
            json!("1700000000"),
            json!(null),
            json!(253_402_300_800_u64),
            json!(1e300),
            json!(u64::MAX),
        ] {
            assert_eq!(Timestamp::from_numeric_date(&value), None, "{value}");
        }
        let with_fraction = Timestamp::from_numeric_date(&json!(1_700_000_000.75)).unwrap();
        assert_eq!(with_fraction.unix(), 1_700_000_000);
    }

    #[test]
    fn distance_has_the_two_largest_units() {
        let at = |seconds: i64| Timestamp::from_numeric_date(&json!(seconds)).unwrap();
        let now = at(1_700_000_000);
        for (seconds, expected) in [
            (0, "now"),
            (1, "in 1 s"),
            (59, "in 59 s"),
            (-60, "1 min ago"),
            (3_299, "in 54 min 59 s"),
            (3_600, "in 1 h"),
            (-7_380, "2 h 3 min ago"),
            (86_399, "in 23 h 59 min"),
            (86_400 * 3 + 7_200, "in 3 d 2 h"),
        ] {
            let time = at(1_700_000_000 + seconds);
            assert_eq!((time.distance_from(now).as_str(), time.seconds_from(now)), (expected, seconds));
        }
    }
}
