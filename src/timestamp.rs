//! Times as RFC 3339 has them, in UTC and to the millisecond: `2026-08-31T09:15:02.114Z`.
//!
//! A log has many lines in the same second, and the calendar need not be reckoned for each of them. So whoever writes many
//! keeps the text of the last second ([`Timestamps`]), and puts other milliseconds in it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time as text; nothing for one that no calendar has.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// Writes times, most of them of the second that the one before was of.
#[derive(Debug, Default)]
pub struct Timestamps {
    second: Option<u64>,
    text: String,
}

/// What follows on the seconds: `.114Z`.
const FRACTION: usize = 5;

impl Timestamps {
    /// The same as [`timestamp`].
    pub fn of(&mut self, time: SystemTime) -> &str {
        // What was before 1970 counts its milliseconds backwards, and is in no log.
        let since = time.duration_since(UNIX_EPOCH).ok();
        let second = since.map(|since| since.as_secs());
        let Some(since) = since.filter(|_| second == self.second && self.text.len() > FRACTION) else {
            self.second = second;
            self.text = timestamp(time);
            return &self.text;
        };
        let milliseconds = since.subsec_millis();
        self.text.truncate(self.text.len() - FRACTION);
        self.text.push('.');
        for unit in [100, 10, 1] {
            self.text.extend(char::from_digit(milliseconds / unit % 10, 10));
        }
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_told_to_the_millisecond_and_no_later_than_it_is() {
        let time = UNIX_EPOCH + Duration::new(1_788_167_702, 114_999_999);
        assert_eq!(timestamp(time), "2026-08-31T09:15:02.114Z");
    }

    #[test]
    fn whoever_writes_many_writes_each_as_one_who_writes_one() {
        let mut many = Timestamps::default();
        let first = UNIX_EPOCH + Duration::from_secs(1_788_167_702);
        for nanoseconds in [0, 1, 999_999, 1_000_000, 999_499_999, 999_500_000, 999_999_999, 7_000_000] {
            for seconds in [0, 0, 1, 3_600] {
                let time = first + Duration::new(seconds, nanoseconds);
                assert_eq!(many.of(time), timestamp(time), "{seconds} {nanoseconds}");
            }
        }
        for time in
            [UNIX_EPOCH, UNIX_EPOCH - Duration::from_millis(1), UNIX_EPOCH - Duration::from_millis(1_500)]
        {
            assert_eq!(many.of(time), timestamp(time));
            assert_eq!(many.of(time), timestamp(time));
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_text_and_spoils_no_other() {
        let mut many = Timestamps::default();
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        for _ in 0..2 {
            assert_eq!(many.of(far), "");
        }
        assert_eq!(many.of(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
