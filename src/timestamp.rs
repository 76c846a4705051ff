//! Timestamps in RFC 3339 format, in UTC, with milliseconds: `2026-08-31T09:15:02.114Z`.

use std::time::SystemTime;

/// Formats a time; the text is empty for a time that the calendar does not cover.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_is_truncated_to_the_millisecond() {
        let time = UNIX_EPOCH + Duration::new(1_788_167_702, 114_999_999);
        assert_eq!(timestamp(time), "2026-08-31T09:15:02.114Z");
        assert_eq!(timestamp(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_time_beyond_the_calendar_gives_an_empty_text() {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(1 << 40)), "");
    }
}
