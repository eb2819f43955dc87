//! A moment that a claim names.

use std::fmt;
use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 9999-12-31T23:59:59Z, the last that ISO 8601 writes without an agreement.
const LAST: u64 = 253_402_300_799;

/// A moment in whole Unix seconds, between 1970 and 9999. Shown in UTC as ISO 8601 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// From the machine's clock.
    pub(crate) fn at(moment: SystemTime) -> Self {
        Self(moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST))
    }

    /// From a `NumericDate` (RFC 7519 §2), which may have a fraction; `None` for what is no date.
    pub(crate) fn of(value: &serde_json::Value) -> Option<Self> {
        let seconds = value.as_u64().or_else(|| {
            let seconds = value.as_f64()?;
            Some(Duration::try_from_secs_f64(seconds).ok()?.as_secs())
        })?;
        (seconds <= LAST).then_some(Self(seconds))
    }

    pub(crate) fn unix(self) -> u64 {
        self.0
    }

    /// How far it is away; negative when it is past.
    pub(crate) fn seconds_from(self, now: SystemTime) -> i64 {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let away = i64::try_from(self.0.abs_diff(now)).unwrap_or(i64::MAX);
        if self.0 < now { -away } else { away }
    }

    /// The same for people, in its two largest units.
    pub(crate) fn distance_from(self, now: SystemTime) -> String {
        let away = self.seconds_from(now);
        let long = two_units(away.unsigned_abs());
        match away {
            0 => "now".to_owned(),
            1.. => format!("in {long}"),
            _ => format!("{long} ago"),
        }
    }
}

fn two_units(seconds: u64) -> String {
    let (large, large_name, small, small_name) = match seconds {
        0..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => (seconds / MINUTE, "min", seconds % MINUTE, "s"),
        HOUR..DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        _ => (seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    };
    if small == 0 {
        format!("{large} {large_name}")
    } else {
        format!("{large} {large_name} {small} {small_name}")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / DAY);
        let (hour, minute, second) = (self.0 % DAY / HOUR, self.0 % HOUR / MINUTE, self.0 % MINUTE);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The date so many days after 1970-01-01: years are counted off while they are whole, then months.
fn date(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_are_those_of_gnu_date() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Moment(seconds).to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for value in
            [json!(-1), json!("1700000000"), json!(null), json!(LAST + 1), json!(1e300), json!(u64::MAX)]
        {
            assert_eq!(Moment::of(&value), None, "{value}");
        }
        assert_eq!(Moment::of(&json!(1_700_000_000.75)), Some(Moment(1_700_000_000)));
    }

    #[test]
    fn a_distance_is_told_in_its_two_largest_units() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (away, expected) in [
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
            let moment = Moment(1_700_000_000_u64.checked_add_signed(away).unwrap());
            assert_eq!((moment.distance_from(now).as_str(), moment.seconds_from(now)), (expected, away));
        }
    }
}
