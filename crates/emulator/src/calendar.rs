//! Instants as the texts that certificates and Entra's errors write.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;

/// The last second of 2099: the end of everything the emulator certifies, and short of the years
/// that calendars here do not know.
const LAST: Duration = Duration::from_secs(4_102_444_799);

/// Time since 1970, kept within 1970 to 2099.
pub(crate) fn since_epoch(instant: SystemTime) -> Duration {
    instant.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST)
}

/// Whole seconds since 1970 (RFC 7519 §2, NumericDate).
pub(crate) fn unix(instant: SystemTime) -> u64 {
    since_epoch(instant).as_secs()
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2).
pub(crate) fn generalized_time(instant: SystemTime) -> String {
    let at = date_time_ymd(1970, 1, 1) + since_epoch(instant);
    let (hour, minute, second) = at.to_hms();
    format!("{:04}{:02}{:02}{hour:02}{minute:02}{second:02}Z", at.year(), u8::from(at.month()), at.day())
}

/// `YYYY-MM-DD HH:MM:SSZ`, the `timestamp` of Entra's errors.
pub(crate) fn timestamp(instant: SystemTime) -> String {
    let at = date_time_ymd(1970, 1, 1) + since_epoch(instant);
    let (hour, minute, second) = at.to_hms();
    format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}Z", at.year(), u8::from(at.month()), at.day())
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` (RFC 3339 §5.6).
pub(crate) fn rfc3339(instant: SystemTime) -> String {
    let at = date_time_ymd(1970, 1, 1) + since_epoch(instant);
    format!("{:04}-{:02}-{:02}T{}Z", at.year(), u8::from(at.month()), at.day(), time_of_day(instant))
}

/// `HH:MM:SS.mmm`, in UTC.
pub(crate) fn time_of_day(instant: SystemTime) -> String {
    let since = since_epoch(instant);
    let (hour, minute, second) = (date_time_ymd(1970, 1, 1) + since).to_hms();
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", since.subsec_millis())
}

/// `instant + duration`, or `instant` where the calendar ends.
pub(crate) fn after(instant: SystemTime, duration: Duration) -> SystemTime {
    instant.checked_add(duration).unwrap_or(instant)
}

/// `instant - duration`, or `instant` where the calendar begins.
pub(crate) fn before(instant: SystemTime, duration: Duration) -> SystemTime {
    instant.checked_sub(duration).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_utc() {
        let leap = UNIX_EPOCH + Duration::from_secs(951_827_696);
        assert_eq!(generalized_time(leap), "20000229123456Z");
        assert_eq!(timestamp(leap), "2000-02-29 12:34:56Z");
        assert_eq!(rfc3339(leap + Duration::from_millis(7)), "2000-02-29T12:34:56.007Z");
        assert_eq!(generalized_time(UNIX_EPOCH + Duration::from_secs(1 << 40)), "20991231235959Z");
    }
}
