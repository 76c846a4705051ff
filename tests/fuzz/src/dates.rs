//! Dates of fields, held against a calendar that counts days one by one.

use std::time::{Duration, SystemTime};

use billing_insights_proxy::rfc9111::freshness::date;
use http::HeaderValue;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

pub fn run(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let read = date(&value);
    let text = String::from_utf8_lossy(data).into_owned();
    if let Some(fixed) = fixed_date(&text.to_ascii_lowercase()) {
        assert_eq!(read, fixed, "{text}");
    }
    for turned in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
        let turned = HeaderValue::from_str(&turned).ok().and_then(|value| date(&value));
        assert!(turned == read || !text.is_ascii(), "case decides: {text}");
    }
    let Some(time) = read else { return };
    assert!(
        text.to_ascii_lowercase().contains("gmt") || text.trim().len() == 24,
        "another zone than GMT: {text}"
    );
    let written = HeaderValue::from_str(&httpdate::fmt_http_date(time)).expect("a value");
    assert_eq!(date(&written), Some(time), "{text}");
}

/// What has the shape of `sun, 06 nov 1994 08:49:37 gmt`; the inner none where there is no such day.
#[expect(clippy::option_option, reason = "another shape and no such day are two things")]
fn fixed_date(text: &str) -> Option<Option<SystemTime>> {
    let (day_name, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "gmt"] = words[..] else { return None };
    let clock: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = clock[..] else { return None };
    let number = |digits: &str, length: usize| {
        (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<u64>().ok())?
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let name = DAYS.iter().position(|name| *name == day_name)?;
    let (day, year) = (number(day, 2)?, number(year, 4)?);
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    Some(seconds(year, month, day, name, (hour, minute, second)))
}

fn seconds(year: u64, month: usize, day: u64, name: usize, clock: (u64, u64, u64)) -> Option<SystemTime> {
    if year < 1970 || day == 0 || day > days_of(year, month) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| (0..12).map(|month| days_of(year, month)).sum::<u64>()).sum();
    let days = years + (0..month).map(|month| days_of(year, month)).sum::<u64>() + day - 1;
    let (hour, minute, second) = clock;
    if days % 7 != name as u64 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn days_of(year: u64, month: usize) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
}
