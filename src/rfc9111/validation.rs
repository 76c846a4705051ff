//! Conditional requests: validating stored responses upstream, merging a 304, and evaluating the client's own
//! preconditions against a stored response (RFC 9111, section 4.3; RFC 9110, sections 8.8.3 and 13).

use std::time::SystemTime;

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, TRANSFER_ENCODING,
};

use super::freshness::date;

/// Makes a request conditional on a change of the stored responses (section 4.3.1). Validators are sent
/// exactly as the origin sent them.
///
/// Several stored responses are offered by entity tag only: a date could not identify one of them.
pub fn make_conditional<'a>(request: &mut HeaderMap, stored: impl IntoIterator<Item = &'a HeaderMap>) {
    let mut offered = 0;
    let mut tags: Vec<&[u8]> = Vec::new();
    let mut modified = None;
    for fields in stored {
        offered += 1;
        modified = fields.get(LAST_MODIFIED);
        if let Some(etag) = fields.get(ETAG).map(HeaderValue::as_bytes)
            && !tags.contains(&etag)
        {
            tags.push(etag);
        }
    }
    if let Ok(tags) = HeaderValue::from_bytes(&tags.join(&b", "[..]))
        && !tags.is_empty()
    {
        request.insert(IF_NONE_MATCH, tags);
    }
    if let Some(modified) = modified.filter(|_| offered == 1) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// The stored response that a 304 confirms, among those that were offered (section 4.3.4).
pub fn confirmed<'a, T>(
    not_modified: &HeaderMap,
    offered: &'a [T],
    fields: impl Fn(&T) -> &HeaderMap,
) -> Option<&'a T> {
    match offered {
        [only] => is_about(not_modified, fields(only)).then_some(only),
        // Without an entity tag the 304 could mean any of them. An identical tag takes precedence over a
        // weakly equal one.
        several => {
            let tag = not_modified.get(ETAG)?;
            let same = several.iter().find(|stored| fields(stored).get(ETAG) == Some(tag));
            same.or_else(|| several.iter().find(|stored| is_about(not_modified, fields(stored))))
        }
    }
}

/// Whether a response has a validator.
#[must_use]
pub fn can_be_validated(stored: &HeaderMap) -> bool {
    stored.contains_key(ETAG) || stored.contains_key(LAST_MODIFIED)
}

/// Whether a 304 refers to this stored response (section 4.3.4): a validator in the 304 must match the stored
/// one.
#[must_use]
pub fn is_about(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    match (not_modified.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) => weakly_equal(new.as_bytes(), old.as_bytes()),
        (Some(_), None) => false,
        (None, _) => match (not_modified.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
            (Some(new), Some(old)) => new == old,
            _ => true,
        },
    }
}

/// The stored fields after a 304 (section 3.2): new fields replace old ones, except those that describe the
/// stored content. The old `Age` and `Date` are removed: only those of the 304 count.
#[must_use]
pub fn merged(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut merged = stored.clone();
    for name in [AGE, DATE] {
        merged.remove(name);
    }
    for name in not_modified.keys() {
        if describes_body(name) {
            continue;
        }
        merged.remove(name);
        for value in not_modified.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged
}

fn describes_body(name: &http::HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, TRANSFER_ENCODING, ETAG].contains(name)
}

/// Whether the client's copy is still valid (RFC 9110, section 13.2.2): `If-None-Match` decides if present,
/// otherwise `If-Modified-Since`, compared with `Last-Modified`, or with `Date` if there is none (section
/// 4.3.2). `etag` and `modified` are called only where their values are needed.
#[must_use]
pub fn client_has_it<'a>(
    request: &HeaderMap,
    etag: impl Fn() -> Option<&'a HeaderValue>,
    modified: impl Fn() -> Option<&'a HeaderValue>,
) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|value| value.as_bytes().trim_ascii() == b"*" || names(value.as_bytes(), etag()));
    }
    let Some(since) = request.get(IF_MODIFIED_SINCE).and_then(date) else { return false };
    modified().and_then(date).is_some_and(|modified| whole_seconds(modified) <= whole_seconds(since))
}

fn names(list: &[u8], etag: Option<&HeaderValue>) -> bool {
    let Some(etag) = etag else { return false };
    entity_tags(list).any(|named| weakly_equal(named, etag.as_bytes()))
}

/// The entity tags of a list. A quoted tag may contain a comma.
fn entity_tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// Weak comparison of entity tags (RFC 9110, section 8.8.3.2).
fn weakly_equal(one: &[u8], other: &[u8]) -> bool {
    one.strip_prefix(b"W/").unwrap_or(one) == other.strip_prefix(b"W/").unwrap_or(other)
}

/// Converts an entity tag to a weak one.
#[must_use]
pub fn weakened(etag: &HeaderValue) -> HeaderValue {
    if etag.as_bytes().starts_with(b"W/") {
        return etag.clone();
    }
    let weak = [b"W/", etag.as_bytes()].concat();
    HeaderValue::from_bytes(&weak).unwrap_or_else(|_| etag.clone())
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn section_4_3_2_if_none_match_is_compared_weakly_and_decides_alone() {
        let etag = HeaderValue::from_static("\"a,b\"");
        let has = |lines: &[(&'static str, &str)]| client_has_it(&fields(lines), || Some(&etag), || None);
        assert!(has(&[("if-none-match", "\"x\", W/\"a,b\"")]));
        assert!(has(&[("if-none-match", "*")]));
        assert!(!has(&[("if-none-match", "\"a\"")]));
        let old = HeaderValue::from_static("Mon, 01 Jan 2024 00:00:00 GMT");
        let request =
            fields(&[("if-none-match", "\"x\""), ("if-modified-since", "Tue, 02 Jan 2024 00:00:00 GMT")]);
        assert!(!client_has_it(&request, || Some(&etag), || Some(&old)));
    }

    #[test]
    fn section_4_3_2_if_modified_since_compares_dates() {
        let modified = HeaderValue::from_static("Mon, 01 Jan 2024 00:00:00 GMT");
        let has =
            |since| client_has_it(&fields(&[("if-modified-since", since)]), || None, || Some(&modified));
        assert!(has("Mon, 01 Jan 2024 00:00:00 GMT"));
        assert!(!has("Sun, 31 Dec 2023 23:59:59 GMT"));
        assert!(!has("yesterday"));
    }

    #[test]
    fn section_3_2_a_304_brings_new_fields_and_keeps_what_describes_the_body() {
        let stored = fields(&[("etag", "\"a\""), ("content-length", "10"), ("date", "old"), ("x-kept", "1")]);
        let new = fields(&[("etag", "W/\"a\""), ("content-length", "0"), ("date", "new"), ("x-added", "2")]);
        assert!(is_about(&new, &stored));
        let merged = merged(&stored, &new);
        assert_eq!(
            merged,
            fields(&[
                ("etag", "\"a\""),
                ("content-length", "10"),
                ("date", "new"),
                ("x-kept", "1"),
                ("x-added", "2")
            ])
        );
    }

    #[test]
    fn section_4_3_1_one_response_is_offered_by_tag_and_date_and_several_by_their_tags() {
        let dated = fields(&[("etag", "W/\"a\""), ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")]);
        let other = fields(&[("etag", "\"b\"")]);
        let offer = |stored: &[&HeaderMap]| {
            let mut request = HeaderMap::new();
            make_conditional(&mut request, stored.iter().copied());
            request
        };
        let one =
            fields(&[("if-none-match", "W/\"a\""), ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT")]);
        assert_eq!(offer(&[&dated]), one);
        assert_eq!(offer(&[&dated, &other, &dated]), fields(&[("if-none-match", "W/\"a\", \"b\"")]));
        assert_eq!(offer(&[&HeaderMap::new()]), HeaderMap::new());
    }

    #[test]
    fn section_4_3_4_the_very_same_tag_is_confirmed_before_one_that_is_equal_but_for_weakness() {
        let offered = [fields(&[("etag", "W/\"a\"")]), fields(&[("etag", "\"a\"")])];
        let confirmed_by = |tag: &str| {
            let found = confirmed(&fields(&[("etag", tag)]), &offered, |fields| fields);
            found.map(|found| found["etag"].to_str().expect("text"))
        };
        assert_eq!(confirmed_by("\"a\""), Some("\"a\""));
        assert_eq!(confirmed_by("W/\"a\""), Some("W/\"a\""));
        assert_eq!(confirmed_by("\"b\""), None);
        assert!(confirmed(&HeaderMap::new(), &offered, |fields| fields).is_none(), "it could be any of them");
    }

    /// Fields that merging treats differently, with arbitrary values.
    fn any_fields() -> impl Strategy<Value = HeaderMap> {
        let names = [
            "etag",
            "last-modified",
            "age",
            "date",
            "content-length",
            "content-encoding",
            "content-range",
            "transfer-encoding",
            "cache-control",
            "vary",
            "x-a",
            "x-b",
        ];
        let value = prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..], 0..8);
        prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..12).prop_map(|lines| {
            let mut fields = HeaderMap::new();
            for (name, value) in lines {
                fields.append(name, HeaderValue::from_bytes(value.trim_ascii()).expect("a value"));
            }
            fields
        })
    }

    proptest! {
        #[test]
        fn section_3_2_merging_keeps_the_validators_and_takes_the_rest(stored in any_fields(), new in any_fields()) {
            let merged = merged(&stored, &new);
            for name in merged.keys() {
                let from = if describes_body(name) || !new.contains_key(name) { &stored } else { &new };
                prop_assert!(merged.get_all(name).iter().eq(from.get_all(name).iter()), "{}", name);
            }
            for name in stored.keys().chain(new.keys()) {
                let is_gone = (describes_body(name) && !stored.contains_key(name))
                    || ([AGE, DATE].contains(name) && !new.contains_key(name));
                prop_assert_eq!(merged.contains_key(name), !is_gone, "{}", name);
            }
            prop_assert!(!can_be_validated(&stored) || can_be_validated(&merged));
            prop_assert_eq!(super::merged(&merged, &new), merged, "a second time changes nothing");
        }

        #[test]
        fn conditions_and_tags_of_any_bytes_are_read(request in any_fields(), stored in any_fields()) {
            let mut request = request;
            let conditions: Vec<_> = request.get_all(ETAG).iter().cloned().collect();
            for value in conditions {
                request.append(IF_NONE_MATCH, value);
            }
            let has_it = client_has_it(&request, || stored.get(ETAG), || stored.get(LAST_MODIFIED));
            prop_assert!(!has_it || stored.contains_key(ETAG) || stored.contains_key(LAST_MODIFIED)
                || request.get_all(IF_NONE_MATCH).iter().any(|value| value == "*"));
            prop_assert!(is_about(&stored, &stored), "a response confirms itself");
        }
    }

    #[test]
    fn section_4_3_4_a_304_about_something_else_is_told_apart() {
        assert!(!is_about(&fields(&[("etag", "\"b\"")]), &fields(&[("etag", "\"a\"")])));
        assert!(!is_about(&fields(&[("etag", "\"b\"")]), &fields(&[("last-modified", "x")])));
        assert!(is_about(&HeaderMap::new(), &fields(&[("etag", "\"a\"")])));
    }
}
