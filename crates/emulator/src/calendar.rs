//! Formatting and arithmetic of instants.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;

/// The last second of 2099, when all validity of the emulator's certificates ends.
const LAST: Duration = Duration::from_secs(4_102_444_799);

/// Returns the time since 1970, clamped to 1970 to 2099.
pub(crate) fn since_epoch(instant: SystemTime) -> Duration {
    instant.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST)
}

/// Returns whole seconds since 1970 (RFC 7519 §2, NumericDate).
pub(crate) fn unix(instant: SystemTime) -> u64 {
    since_epoch(instant).as_secs()
}

/// Returns `YYYY-MM-DD` and `HH:MM:SS.mmm`, in UTC.
fn date_and_time(instant: SystemTime) -> (String, String) {
    let at = date_time_ymd(1970, 1, 1) + since_epoch(instant);
    let (hour, minute, second, milliseconds) = at.to_hms_milli();
    (at.date().to_string(), format!("{hour:02}:{minute:02}:{second:02}.{milliseconds:03}"))
}

/// Formats as `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2).
pub(crate) fn generalized_time(instant: SystemTime) -> String {
    timestamp(instant).replace(['-', ' ', ':'], "")
}

/// Formats as `YYYY-MM-DD HH:MM:SSZ`, the `timestamp` of Entra's errors
/// (docs/protocol/errors.md#fields).
pub(crate) fn timestamp(instant: SystemTime) -> String {
    let (date, time) = date_and_time(instant);
    format!("{date} {}Z", &time[..8])
}

/// Formats as `YYYY-MM-DDTHH:MM:SS.mmmZ` (RFC 3339 §5.6).
pub(crate) fn rfc3339(instant: SystemTime) -> String {
    let (date, time) = date_and_time(instant);
    format!("{date}T{time}Z")
}

/// Formats as `HH:MM:SS.mmm`, in UTC.
pub(crate) fn time_of_day(instant: SystemTime) -> String {
    date_and_time(instant).1
}

/// Returns `instant + duration`, or `instant` if that overflows.
pub(crate) fn after(instant: SystemTime, duration: Duration) -> SystemTime {
    instant.checked_add(duration).unwrap_or(instant)
}

/// Returns `instant - duration`, or `instant` if that overflows.
pub(crate) fn before(instant: SystemTime, duration: Duration) -> SystemTime {
    instant.checked_sub(duration).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_formatted_in_utc() {
        let leap = UNIX_EPOCH + Duration::from_secs(951_827_696);
        assert_eq!(generalized_time(leap), "20000229123456Z");
        assert_eq!(timestamp(leap), "2000-02-29 12:34:56Z");
        assert_eq!(rfc3339(leap + Duration::from_millis(7)), "2000-02-29T12:34:56.007Z");
        assert_eq!(generalized_time(UNIX_EPOCH + Duration::from_secs(1 << 40)), "20991231235959Z");
    }
}
