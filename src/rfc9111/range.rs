//! A client's `Range`, answered from a whole response (RFC 9110, section 14; RFC 9111, section 3.3).
//!
//! Deliberately absent: several ranges in one answer (`multipart/byteranges`). A request for more than one range gets
//! the whole, which section 14.2 lets a server do.

use std::ops::Range;
use std::time::Duration;

use http::header::{DATE, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};

use super::freshness::date;

/// What a request's `Range` means for a response of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that the response does not have: 416.
    Unsatisfiable,
}

/// Reads `Range`, as far as `If-Range` lets it count (RFC 9110, sections 13.1.5 and 14.2). What can't be read is
/// ignored.
#[must_use]
pub fn asked(
    request: &HeaderMap,
    length: u64,
    etag: Option<&HeaderValue>,
    modified: Option<&HeaderValue>,
) -> Asked {
    let mut fields = request.get_all(RANGE).iter();
    let (Some(range), None) = (fields.next(), fields.next()) else { return Asked::Whole };
    if !request.get_all(IF_RANGE).iter().all(|condition| holds(condition, etag, modified)) {
        return Asked::Whole;
    }
    read(range.as_bytes(), length).unwrap_or(Asked::Whole)
}

/// `Last-Modified`, where it tells this response from every other: what changed twice within a second has one date
/// (RFC 9110, section 8.8.2.2).
#[must_use]
pub fn strong_date(response: &HeaderMap) -> Option<&HeaderValue> {
    let modified = response.get(LAST_MODIFIED)?;
    let made = response.get(DATE).and_then(date)?;
    (made.duration_since(date(modified)?).ok()? >= Duration::from_secs(1)).then_some(modified)
}

/// `If-Range` is compared strongly: a part of something merely equivalent does not fit to what the client has.
fn holds(condition: &HeaderValue, etag: Option<&HeaderValue>, modified: Option<&HeaderValue>) -> bool {
    if condition.as_bytes().starts_with(b"\"") {
        return etag == Some(condition);
    }
    date(condition).is_some_and(|condition| modified.and_then(date) == Some(condition))
}

/// None for what is no single byte range.
fn read(value: &[u8], length: u64) -> Option<Asked> {
    let unit = value.get(..6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let set = value[6..].trim_ascii();
    let dash = set.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&set[..dash], &set[dash + 1..]);
    let part = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (Some(first), None) => first..length,
        (Some(_), Some(_)) if exceeds(&set[..dash], &set[dash + 1..]) => return None,
        (Some(first), Some(last)) => first..length.min(last.saturating_add(1)),
    };
    Some(if part.is_empty() { Asked::Unsatisfiable } else { Asked::Part(part) })
}

/// Whether one row of digits is the larger number, however large both are.
fn exceeds(first: &[u8], last: &[u8]) -> bool {
    fn significant(digits: &[u8]) -> &[u8] {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        &digits[zeros..]
    }
    let (first, last) = (significant(first), significant(last));
    (first.len(), first) > (last.len(), last)
}

/// A position; the inner none where there is nothing. One too large to count is larger than any length.
#[expect(clippy::option_option, reason = "unreadable, absent and present are three things")]
fn number(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    digits.iter().all(u8::is_ascii_digit).then(|| {
        let number = digits
            .iter()
            .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        Some(number.unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn of(range: &str, length: u64) -> Asked {
        let mut request = HeaderMap::new();
        request.insert(RANGE, range.parse().expect("a value"));
        asked(&request, length, None, None)
    }

    #[rstest]
    #[case::both_ends("bytes=0-1", Asked::Part(0..2))]
    #[case::the_last_is_clamped("bytes=4-400", Asked::Part(4..10))]
    #[case::open("bytes=7-", Asked::Part(7..10))]
    #[case::suffix("bytes=-3", Asked::Part(7..10))]
    #[case::a_suffix_longer_than_all("bytes=-30", Asked::Part(0..10))]
    #[case::the_unit_has_no_case("Bytes=0-0", Asked::Part(0..1))]
    #[case::beyond("bytes=10-", Asked::Unsatisfiable)]
    #[case::an_empty_suffix("bytes=-0", Asked::Unsatisfiable)]
    #[case::uncountable("bytes=99999999999999999999-", Asked::Unsatisfiable)]
    #[case::backwards("bytes=5-4", Asked::Whole)]
    #[case::backwards_and_uncountable("bytes=999999999999999999999-99999999999999999999", Asked::Whole)]
    #[case::zeros_in_front_do_not_make_a_number_larger("bytes=0004-00005", Asked::Part(4..6))]
    #[case::several("bytes=0-1,3-4", Asked::Whole)]
    #[case::another_unit("lines=0-1", Asked::Whole)]
    #[case::nothing("bytes=-", Asked::Whole)]
    #[case::a_sign("bytes=+1-2", Asked::Whole)]
    fn section_14_1_2_a_byte_range(#[case] range: &str, #[case] expected: Asked) {
        assert_eq!(of(range, 10), expected);
    }

    #[test]
    fn section_14_2_two_fields_of_ranges_are_ignored() {
        let mut request = HeaderMap::new();
        request.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        request.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(asked(&request, 10, None, None), Asked::Whole);
    }

    #[rstest]
    #[case::the_same_tag("\"a\"", true)]
    #[case::another_tag("\"b\"", false)]
    #[case::a_weak_tag_never_holds("W/\"a\"", false)]
    #[case::the_same_date("Mon, 01 Jan 2024 00:00:00 GMT", true)]
    #[case::a_later_date("Tue, 02 Jan 2024 00:00:00 GMT", false)]
    #[case::nonsense("yesterday", false)]
    fn section_13_1_5_a_range_counts_only_if_the_response_is_the_one_that_is_meant(
        #[case] condition: &str,
        #[case] counts: bool,
    ) {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
        request.insert(IF_RANGE, condition.parse().expect("a value"));
        let etag = HeaderValue::from_static("\"a\"");
        let modified = HeaderValue::from_static("Mon, 01 Jan 2024 00:00:00 GMT");
        let part = asked(&request, 10, Some(&etag), Some(&modified));
        assert_eq!(part, if counts { Asked::Part(0..2) } else { Asked::Whole });
    }

    #[rstest]
    #[case::later(Some("Mon, 01 Jan 2024 00:00:01 GMT"), true)]
    #[case::at_once(Some("Mon, 01 Jan 2024 00:00:00 GMT"), false)]
    #[case::earlier(Some("Sun, 31 Dec 2023 00:00:00 GMT"), false)]
    #[case::unknown(None, false)]
    fn section_4_3_2_a_date_is_strong_where_the_response_was_made_later(
        #[case] made: Option<&'static str>,
        #[case] strong: bool,
    ) {
        let mut response = HeaderMap::new();
        response.insert(LAST_MODIFIED, HeaderValue::from_static("Mon, 01 Jan 2024 00:00:00 GMT"));
        if let Some(made) = made {
            response.insert(DATE, HeaderValue::from_static(made));
        }
        assert_eq!(strong_date(&response).is_some(), strong);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_lies_within_the_whole(range in "bytes=[0-9,-]{0,24}", length in 0_u64..100) {
            if let Asked::Part(part) = of(&range, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
