//! The kinds of simple values: durations, sizes, rates, counts, names. Each is parsed from its text. Errors say what
//! to write instead.
//!
//! Not here: addresses (see `address`).

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;
use jiff::{Span, SpanRelativeTo};

use super::kind::{Scalar, kinds};
use crate::domain::filter::{AccountFilter, AccountFilterError};
use crate::domain::id::{AccountId, AccountName, OrganizationId, Scope};
use crate::domain::region::Region;
use crate::domain::tenant::TenantName;

/// The longest duration. A longer one is a typing error and could overflow the clock.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// The highest rate per second, minute or hour; more would not be a limit.
const HIGHEST_RATE: u32 = 1_000_000;

/// The units of durations, as a regular expression.
const UNIT: &str =
    "(?:ms|s|m|h|d|w|milli(?:s|seconds?)|msecs?|secs?|seconds?|mins?|minutes?|hrs?|hours?|days?|wks?|weeks?)";

/// A regular expression of durations that begin with `first`, a number before a unit.
fn durations(first: &str) -> String {
    let further = format!("(?:,? ?[0-9]+(?:[.,][0-9]+)? ?{UNIT})*");
    format!(r"{first} ?{UNIT}{further}|[0-9]+:[0-9]{{2}}:[0-9]{{2}}|[Pp](?:[0-9.,]+[A-Za-z]|[Tt])+")
}

kinds! {
    DURATION: Duration = duration, "duration", "duration",
        "A duration with its unit: `500ms`, `10s`, `5m`, `1h`, `7d`, `1h 30m`; `0` needs none. At most `366d`.",
        { "type": ["string", "integer"], "minimum": 0, "maximum": 0,
          "pattern": format!("^(?:0|{})$", durations(r"\+?[0-9]+(?:[.,][0-9]+)?")) };
    TIMEOUT: Duration = timeout, "timeout", "duration above 0", "A duration of more than zero, with its unit.",
        { "type": "string", "pattern": format!("^(?:{})$", durations(r"\+?[0-9.,]*[1-9][0-9.,]*")) };
    SIZE: u64 = size, "size", "size", "A size with its unit: `512KiB`, `64MiB`, `1GiB`; without one, bytes.",
        { "type": ["string", "integer"], "minimum": 1,
          "pattern": r"^[0-9]+(?:\.[0-9]+)? *(?:[kKmMgGtTpPeE][iI]?)?[bB]?$" };
    RATE: Duration = interval, "rate", "rate",
        "A rate of 1 to 1000000 per second, minute or hour: `10/s`, `600/m`, `3600/h`.",
        { "type": "string", "pattern": "^ *0*[1-9][0-9]{0,6} */ *[smh] *$" };
    COUNT: NonZeroU32 = count, "count", "whole number from 1", "A whole number from 1 to 1000000.",
        { "type": ["integer", "string"], "minimum": 1, "maximum": 1_000_000, "pattern": r"^\+?0*[1-9][0-9]{0,6}$" };
    TEXT: String = text, "text", "text", "A text of at least one character, on one line.",
        { "type": ["string", "number", "boolean"], "pattern": r"^[^\n\r]*[^\s][^\n\r]*$", "maxLength": 1024 };
    TENANT: TenantName = domain, "tenant", "tenant",
        "A tenant, as clients name it: `organizations/acme`, `instances/globex`.",
        { "type": "string", "pattern": "^(?:organizations|instances)/[a-z0-9][a-z0-9_.-]*$" };
    ACCOUNT_NAME: AccountName = domain, "name", "name",
        "Lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit; 64 at most.",
        { "type": ["string", "number", "boolean"], "minimum": 0, "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$" };
    ACCOUNT_ID: AccountId = domain, "account_id", "account id",
        "Talkdesk's id of an account: 24 hexadecimal digits.",
        { "type": ["string", "number"], "minimum": 1e20, "pattern": "^[0-9a-fA-F]{24}$" };
    PARAMETER: String = parameter, "parameter", "bare name",
        "The bare name of a query parameter or of a member of a record: `account_id`.",
        { "type": ["string", "number", "boolean"], "pattern": r"^[A-Za-z0-9_.\[\]-]{1,128}$" };
    ACCOUNT_FILTER: AccountFilter = account_filter, "account_filter", "filter",
        "A filter that narrows to one account, whose id stands for `{account_id}` in it: `account_id eq \
         '{account_id}'`.",
        { "type": "string", "pattern": r"\{account_id\}" };
    FIELD: HeaderName = field_name, "field", "field name", "The name of a request field: `X-Report-Format`.",
        { "type": ["string", "number", "boolean"], "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" };
    SCOPE: Scope = domain, "scope", "scope", "One OAuth scope: `express-accounts:read`.",
        { "type": ["string", "number", "boolean"], "pattern": r"^[!#-\[\]-~]{1,256}$" };
    REGION: Region = domain, "region", "region", "The region of Talkdesk.", { "enum": Region::ALL.map(Region::as_str) };
}

/// A [`COUNT`] as `usize`.
pub(super) const SIZE_COUNT: Scalar<usize> = COUNT.parsed_by(size_count);

pub(super) const ORGANIZATION_ID: Scalar<OrganizationId> = ACCOUNT_NAME.parsed_by(domain);

/// Reads a duration: `10s`, `5m`, `1h`, `7d`, `500ms`; `0` needs no unit.
fn duration(text: &str) -> Result<Duration, String> {
    const ADVICE: &str = "write a duration with its unit, such as `500ms`, `10s`, `5m`, `1h` or `7d`";
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
fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("write a duration of more than zero, such as `10s`".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a size in bytes, such as `64MiB`.
fn size(text: &str) -> Result<u64, String> {
    const ADVICE: &str = "write a size of more than zero with its unit, such as `512KiB`, `64MiB` or `1GiB`";
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 && size.as_u64() < u64::MAX / 2 => Ok(size.as_u64()),
        _ => Err(ADVICE.to_owned()),
    }
}

/// Reads a rate (`10/s`, `600/m`, `3600/h`) as the time between two requests.
fn interval(text: &str) -> Result<Duration, String> {
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
            "write a rate of 1 to {HIGHEST_RATE} per second, minute or hour, such as `10/s`, `600/m` or `3600/h`"
        )),
    }
}

/// Reads a whole number from 1 to 1,000,000.
fn count(text: &str) -> Result<NonZeroU32, String> {
    // More connections or requests than any machine handles, and within the range of a semaphore.
    let count = text.parse::<NonZeroU32>().ok().filter(|count| count.get() <= 1_000_000);
    count.ok_or_else(|| "write a whole number from 1 to 1000000".to_owned())
}

/// Like [`count`], such as `usize`.
fn size_count(text: &str) -> Result<usize, String> {
    usize::try_from(count(text)?.get()).map_err(|_| "write a smaller number".to_owned())
}

/// Reads a text of at least one character, on one line.
fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 1024 {
        return Err("write a text of at least one character, on one line".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// Reads the name of a request field.
pub(super) fn field_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "write the name of a request field, such as `X-Report-Format`".to_owned())
}

/// Reads the name of a query parameter or of a member of a record.
fn parameter(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("write the bare name, such as `account_id`".to_owned()) }
}

/// Reads a filter expression for an account.
fn account_filter(text: &str) -> Result<AccountFilter, String> {
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
