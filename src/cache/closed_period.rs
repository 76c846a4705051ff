//! Closed periods: a response about a period that has ended and settled may be stored for longer than one
//! about a period that still changes.
//!
//! A period is open unless it can be shown to be closed. Its end is the upper bound that the query's `filter`
//! sets for the configured attribute (`month eq '2024-08'`, `date lt '2024-09-01'`). A period is open if the
//! filter can't be parsed, if it has no such bound, or if the bound is not a month, a date or a date-time. A
//! response without records counts as open too: its records may not have been written yet. Dates have no time
//! zone, so a day ends when it ends in the last time zone, UTC-12.
//!
//! Not implemented: the start of a period, years that are not written with four digits, and leap seconds.

use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::policy::{CachePolicy, StoreDecision};
use crate::clock::Now;
use crate::config::ClosedPeriod;
use crate::domain::entitlement::FILTER;
use crate::domain::filter::{self, Bound};
use crate::domain::query;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// UTC-12 is 12 hours behind UTC: the last time zone in which a day ends.
const LAST_TIME_ZONE: i64 = 12 * HOUR;

/// Gives a response the lifetime of closed periods, if the rule's `ttl` decides and its period is closed.
#[must_use]
pub fn with_closed_period(
    mut decision: StoreDecision,
    policy: &CachePolicy,
    path_and_query: &str,
    records: u64,
    now: Now,
) -> StoreDecision {
    let Some(closed_period) = policy.closed_period().filter(|_| decision.by_ttl) else { return decision };
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    if records > 0 && is_closed(closed_period, query, now.wall) {
        decision.freshness.lifetime = closed_period.ttl;
    }
    decision
}

/// Whether the period of a query has ended, and its settling time has passed.
#[must_use]
pub fn is_closed(closed_period: &ClosedPeriod, query: &str, now: SystemTime) -> bool {
    let mut filters = query::parameters(query).filter(|parameter| parameter.is(FILTER));
    let (Some(parameter), None) = (filters.next(), filters.next()) else { return false };
    let Some(filter) = parameter.text().and_then(|text| filter::parse(text).ok()) else { return false };
    let Some(end) = filter.upper_bound(&closed_period.attribute, &end) else { return false };
    let Ok(now) = now.duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let Some(settled) = now.checked_sub(closed_period.settle) else { return false };
    i64::try_from(settled.as_secs()).is_ok_and(|settled| settled >= end)
}

/// The end of a period in Unix time, from its bound: a month, a date or a date-time. An inclusive month or
/// day ends at its end, an exclusive one at its start.
#[must_use]
pub fn end(text: &str, bound: Bound) -> Option<i64> {
    let whole = |first: Date, last: Date| {
        let midnight = match bound {
            Bound::Included => midnight(last)? + DAY,
            Bound::Excluded => midnight(first)?,
        };
        Some(midnight + LAST_TIME_ZONE)
    };
    let mut rest = text.as_bytes();
    let year = i16::try_from(digits(&mut rest, 4)?).ok()?;
    literal(&mut rest, b'-')?;
    let month = i8::try_from(digits(&mut rest, 2)?).ok()?;
    if rest.is_empty() {
        let first = Date::new(year, month, 1).ok()?;
        return whole(first, first.last_of_month());
    }
    literal(&mut rest, b'-')?;
    let date = Date::new(year, month, i8::try_from(digits(&mut rest, 2)?).ok()?).ok()?;
    if rest.is_empty() {
        return whole(date, date);
    }
    Some(midnight(date)? + time_of_day(rest)?)
}

/// Parses the time after a date (RFC 3339, section 5.6): seconds of UTC since midnight. Without an offset,
/// the last time zone is assumed. A fraction of a second is rounded up.
fn time_of_day(mut rest: &[u8]) -> Option<i64> {
    literal(&mut rest, b'T').or_else(|| literal(&mut rest, b't'))?;
    let hour = digits(&mut rest, 2).filter(|hour| *hour < 24)?;
    literal(&mut rest, b':')?;
    let minute = digits(&mut rest, 2).filter(|minute| *minute < 60)?;
    literal(&mut rest, b':')?;
    let mut second = digits(&mut rest, 2).filter(|second| *second < 60)?;
    if literal(&mut rest, b'.').is_some() {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = rest.get(length..).filter(|_| length > 0)?;
        second += 1;
    }
    let later = match *rest {
        [] => LAST_TIME_ZONE,
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ref offset @ ..] => {
            let mut offset = offset;
            let hours = digits(&mut offset, 2).filter(|hours| *hours < 24)?;
            literal(&mut offset, b':')?;
            let minutes = digits(&mut offset, 2).filter(|minutes| *minutes < 60 && offset.is_empty())?;
            let ahead = hours * HOUR + minutes * MINUTE;
            if sign == b'+' { -ahead } else { ahead }
        }
        _ => return None,
    };
    Some(hour * HOUR + minute * MINUTE + second + later)
}

/// Parses exactly `count` digits.
fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(*digit - b'0')))
}

fn literal(rest: &mut &[u8], expected: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[expected])?;
    Some(())
}

/// The midnight (UTC) at the start of a date, in Unix time.
fn midnight(date: Date) -> Option<i64> {
    Some(TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_second())
}

#[cfg(test)]
#[path = "closed_period_tests.rs"]
mod tests;
