//! What selects a stored response: the primary key, and the fields that `Vary` names.

use billing_insights_proxy::rfc9111::freshness::vary_any;
use billing_insights_proxy::rfc9111::key::{PrimaryKey, Variant};
use http::HeaderMap;
use http::header::HeaderName;

use crate::lines::{fields, parted};

const NEVER_SELECT: [&str; 6] =
    ["authorization", "accept-encoding", "origin", "traceparent", "tracestate", "*"];

pub fn run(data: &[u8]) {
    primary_keys(data);
    let (response, rest) = parted(data);
    let (one, other) = parted(rest);
    let (response, one, other) = (fields(response), fields(one), fields(other));
    let variant = Variant::of(&response, &one);
    assert!(variant.matches(&one), "a request selects its own answer");
    assert_eq!(Variant::of(&response, &one), variant);
    let selected = variant.matches(&other);
    assert_eq!(selected, Variant::of(&response, &other).matches(&one), "selecting has no direction");
    assert_eq!(selected, Variant::of(&response, &other) == variant, "what matches is equal");
    let named = named(&response);
    assert_eq!(vary_any(&response), named.iter().any(|name| name == "*"));
    let selecting: Vec<HeaderName> = named
        .iter()
        .filter(|name| !NEVER_SELECT.contains(&name.as_str()))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    assert_eq!(variant.is_any(), selecting.is_empty());
    let quoted = |request: &HeaderMap| request.values().any(|value| value.as_bytes().contains(&b'"'));
    if quoted(&one) || quoted(&other) {
        // Nothing is the same that differs in more than white space.
        assert!(!selected || selecting.iter().all(|name| bare(&one, name) == bare(&other, name)));
        assert!(
            selected || selecting.iter().any(|name| !one.get_all(name).iter().eq(other.get_all(name).iter()))
        );
    } else {
        assert_eq!(selected, selecting.iter().all(|name| members(&one, name) == members(&other, name)));
    }
}

/// Four parts make equal keys only where all four are equal.
fn primary_keys(data: &[u8]) {
    let (one, other) = data.split_at(data.len() / 2);
    let parts = |data: &[u8]| -> Vec<String> {
        let mut parts =
            data.split(|byte| *byte == b'|').map(|part| String::from_utf8_lossy(part).into_owned());
        (0..4).map(|_| parts.next().unwrap_or_default()).collect()
    };
    let key = |parts: &[String]| {
        let seen_by = Some(parts[3].as_bytes()).filter(|seen_by| !seen_by.is_empty());
        PrimaryKey::new(parts[0].as_bytes(), &parts[1], &parts[2], seen_by)
    };
    let (one, other) = (parts(one), parts(other));
    assert_eq!(key(&one) == key(&other), one == other);
}

/// The members of `Vary`, naively. Only a space and a tab stand around a member (RFC 9110, section 5.6.3): what Unicode
/// takes for white space besides belongs to the name, and makes it none.
fn named(response: &HeaderMap) -> Vec<String> {
    let lines = response.get_all("vary").iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect()
}

/// The members of a field, naively; none where it is not there.
fn members(request: &HeaderMap, name: &HeaderName) -> Option<Vec<Vec<u8>>> {
    request.get(name)?;
    let lines = request.get_all(name).iter();
    Some(
        lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(|member| member.trim_ascii().to_vec())
            .collect(),
    )
}

fn bare(request: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines: Vec<&[u8]> = request.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    lines.join(&b","[..]).into_iter().filter(|byte| !b" \t".contains(byte)).collect()
}
