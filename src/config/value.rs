//! Simple values of the configuration: durations, sizes, rates, counts, names. Each is parsed from its text.
//! Errors say what to write instead.
//!
//! Not here: addresses (see `address`).

use std::time::Duration;

use http::HeaderName;
use jiff::{Span, SpanRelativeTo};

use crate::domain::filter::{AccountFilter, AccountFilterError};

/// The longest duration. A longer one is a typing error and could overflow the clock.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// The highest rate per second, minute or hour; more would not be a limit.
const HIGHEST_RATE: u32 = 1_000_000;

/// Reads a duration: `10s`, `5m`, `1h`, `7d`, `500ms`; `0` needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const ADVICE: &str = "write a duration with its unit, as `500ms`, `10s`, `5m`, `1h` or `7d`";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span: Span = text.parse().map_err(|_| ADVICE.to_owned())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| ADVICE.to_owned())?;
    let duration =
        Duration::try_from(signed).map_err(|_| "write a duration that is not negative".to_owned())?;
    if duration > LONGEST { Err("write at most `366d`".to_owned()) } else { Ok(duration) }
}

/// Reads a duration greater than zero.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("write a duration of more than zero, as `10s`".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a size in bytes, such as `64MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const ADVICE: &str = "write a size of more than zero with its unit, as `512KiB`, `64MiB` or `1GiB`";
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 && size.as_u64() < u64::MAX / 2 => Ok(size.as_u64()),
        _ => Err(ADVICE.to_owned()),
    }
}

/// Reads a rate (`10/s`, `600/m`, `3600/h`) as the time between two requests.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let parts = text.split_once('/').and_then(|(count, unit)| {
        let unit = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        Some((count.trim().parse::<u32>().ok()?, unit))
    });
    match parts {
        Some((count @ 1..=HIGHEST_RATE, unit)) => Ok(unit / count),
        _ => Err(format!(
            "write a rate of 1 to {HIGHEST_RATE} per second, minute or hour, as `10/s`, `600/m` or `3600/h`"
        )),
    }
}

/// Reads a whole number from 1 to 1,000,000.
pub(super) fn count(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        // More connections or requests than any machine handles, and within the range of a semaphore.
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("write a whole number from 1 to 1000000".to_owned()),
    }
}

/// Like [`count`], as `usize`.
pub(super) fn size_count(text: &str) -> Result<usize, String> {
    usize::try_from(count(text)?).map_err(|_| "write a smaller number".to_owned())
}

/// Reads a text of at least one character, on one line.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 1024 {
        return Err("write a text of at least one character, on one line".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// Reads the name of a request field.
pub(super) fn field_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "write the name of a request field, as `X-Report-Format`".to_owned())
}

/// Reads the name of a query parameter or of a member of a record.
pub(super) fn parameter(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("write the bare name, as `account_id`".to_owned()) }
}

/// Reads a filter expression for an account.
pub(super) fn account_filter(text: &str) -> Result<AccountFilter, String> {
    text.parse().map_err(|error: AccountFilterError| error.to_string())
}

/// Reads a type of the domain with its own parser.
pub(super) fn domain<T: std::str::FromStr<Err = crate::domain::id::InvalidId>>(
    text: &str,
) -> Result<T, String> {
    text.parse().map_err(|error| format!("it {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_days_are_24_hours() {
        let seconds = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(seconds("500ms"), Ok(500));
        assert_eq!(seconds("10s"), Ok(10_000));
        assert_eq!(seconds("5m"), Ok(300_000));
        assert_eq!(seconds("1h 30m"), Ok(5_400_000));
        assert_eq!(seconds("7d"), Ok(604_800_000));
        assert_eq!(seconds("0"), Ok(0));
        for wrong in ["", "10", "-5s", "ten", "1 year", "10 parsecs", "9999999999999h", "367d", "1month"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(timeout("0s").is_err());
    }

    #[test]
    fn rates_are_intervals_and_never_zero() {
        assert_eq!(interval("10/s"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("600/m"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("3600/h"), Ok(Duration::from_secs(1)));
        for wrong in ["", "0/s", "10", "10/d", "-1/s", "1000000000/s", "1.5/s"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units_and_are_more_than_zero() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1000"), Ok(1000));
        for wrong in ["", "0", "-1MiB", "MiB", "64 parsecs", "99999999999999999999EiB", "1.2.3MiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
