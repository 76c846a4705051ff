//! `Range` and `If-Range`, held against big numbers.

use billing_insights_proxy::rfc9111::range::{Asked, asked, strong_date};
use http::HeaderMap;
use http::header::{HeaderValue, IF_RANGE, RANGE};

use crate::lines::{fields, parted};

pub fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<4>() else { return };
    let length = u64::from(u32::from_be_bytes(*length)) % 2000;
    let (request, response) = parted(rest);
    let (request, response) = (fields(request), fields(response));
    let etag = response.get("etag");
    let modified = strong_date(&response);
    let found = asked(&request, length, etag, modified);
    if let Asked::Part(part) = &found {
        assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
    }
    let ranges: Vec<&HeaderValue> = request.get_all(RANGE).iter().collect();
    if ranges.len() != 1 {
        assert_eq!(found, Asked::Whole);
        return;
    }
    let conditions: Vec<&HeaderValue> = request.get_all(IF_RANGE).iter().collect();
    for condition in &conditions {
        let bytes = condition.as_bytes();
        let is_other_tag = bytes.starts_with(b"W/") || (bytes.starts_with(b"\"") && etag != Some(condition));
        assert!(!is_other_tag || found == Asked::Whole, "a part of something else");
    }
    let mut unconditional = HeaderMap::new();
    unconditional.insert(RANGE, ranges[0].clone());
    let plainly = asked(&unconditional, length, None, None);
    assert!(found == plainly || (found == Asked::Whole && !conditions.is_empty()));
    if let Some(expected) = naive(ranges[0].as_bytes(), u128::from(length)) {
        assert_eq!(plainly, expected, "{:?} of {length}", ranges[0]);
    }
}

/// None where a number is too large even for this.
fn naive(value: &[u8], length: u128) -> Option<Asked> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let Some(set) = text.strip_prefix("bytes=") else { return Some(Asked::Whole) };
    let Some((first, last)) = set.trim_matches([' ', '\t']).split_once('-') else {
        return Some(Asked::Whole);
    };
    if !first.bytes().chain(last.bytes()).all(|byte| byte.is_ascii_digit()) || first.len() + last.len() == 0 {
        return Some(Asked::Whole);
    }
    let (from, to) = match (first, last) {
        ("", last) => (length.saturating_sub(last.parse().ok()?), length),
        (first, "") => (first.parse().ok()?, length),
        (first, last) => {
            let (first, last): (u128, u128) = (first.parse().ok()?, last.parse().ok()?);
            if first > last {
                return Some(Asked::Whole);
            }
            (first, length.min(last + 1))
        }
    };
    if from >= to {
        return Some(Asked::Unsatisfiable);
    }
    Some(Asked::Part(u64::try_from(from).ok()?..u64::try_from(to).ok()?))
}
