//! Cache keys: which stored response matches which request (RFC 9111, sections 2 and 4.1).
//!
//! The primary key starts with the credential, so responses to different credentials never share an entry.
//! Each part is preceded by its length, so different inputs never produce equal bytes.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY};

use super::list;

/// The primary cache key: all of a request that selects its response, except the fields named in `Vary`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrimaryKey(Arc<[u8]>);

impl PrimaryKey {
    /// The key of a request: the credential, the origin of the API, path and query, and the account scope
    /// (`seen_by`). The account scope is part of the key because an Organization's response is not checked
    /// record by record; an Instance must never receive an unchecked response.
    #[must_use]
    pub fn new(credential: &[u8], origin: &str, path_and_query: &str, seen_by: Option<&[u8]>) -> Self {
        let parts = [credential, origin.as_bytes(), path_and_query.as_bytes(), seen_by.unwrap_or_default()];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(bytes.into())
    }

    /// The path and query of the key.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let mut rest = &*self.0;
        let mut part = || {
            let (length, after) = rest.split_first_chunk()?;
            let (part, after) = after.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
            rest = after;
            Some(part)
        };
        let [_, _, path_and_query] = [part(), part(), part()];
        path_and_query.and_then(|path| std::str::from_utf8(path).ok()).unwrap_or_default()
    }

    /// Whether both keys share one allocation.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The length of the key in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }
}

/// The secondary cache key: the normalised request fields that `Vary` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant(Vec<(HeaderName, Option<Vec<u8>>)>);

impl Variant {
    /// The fields of `request` (as sent upstream) that `response` varies by.
    ///
    /// Some fields are ignored: the credential is already in the primary key, content coding is removed
    /// before storing, and trace fields differ in every request. `Origin` is ignored too.
    #[must_use]
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Self {
        let mut names: Vec<HeaderName> = response
            .get_all(VARY)
            .into_iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(selects)
            .collect();
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self(
            names
                .into_iter()
                .map(|name| (normalised(request, &name), name))
                .map(|(value, name)| (name, value))
                .collect(),
        )
    }

    /// Whether a request selects this variant.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| normalised(request, name) == *value)
    }

    /// Whether every request selects this variant.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// The memory use of the variant in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.iter().map(|(name, value)| 64 + name.as_str().len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

fn selects(name: &HeaderName) -> bool {
    !(name == AUTHORIZATION
        || name == ACCEPT_ENCODING
        || name == ORIGIN
        || matches!(name.as_str(), "traceparent" | "tracestate" | "*"))
}

/// Combines the lines of a field and removes white space around list members (section 4.1). White space
/// inside a quoted string is significant and is kept.
fn normalised(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = fields.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let whole = lines.join(&b", "[..]);
    Some(list::split(&whole).collect::<Vec<_>>().join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        fields
    }

    #[test]
    fn a_key_tells_the_path_and_query_that_is_in_it() {
        for path_and_query in ["/express/invoices?a=ü", ""] {
            let key = PrimaryKey::new(b"credential \xff", "https://api", path_and_query, Some(b"account"));
            assert_eq!(key.path_and_query(), path_and_query);
        }
    }

    #[test]
    fn section_4_1_a_variant_is_selected_by_the_named_fields_only() {
        let response = fields(&[("vary", "Accept-Language, ACCEPT")]);
        let german = fields(&[("accept-language", "de"), ("accept", "a, b")]);
        let variant = Variant::of(&response, &german);
        assert!(variant.matches(&fields(&[("accept", "a"), ("accept", "b"), ("accept-language", " de ")])));
        assert!(variant.matches(&fields(&[("accept-language", "de"), ("accept", "a,b"), ("x-other", "1")])));
        assert!(!variant.matches(&fields(&[("accept-language", "en"), ("accept", "a, b")])));
        assert!(!variant.matches(&fields(&[("accept", "a, b")])));
    }

    #[test]
    fn section_4_1_white_space_inside_quotes_means_something() {
        let one = fields(&[("prefer", "a=\"x, y\" , b")]);
        let variant = Variant::of(&fields(&[("vary", "prefer")]), &one);
        assert!(variant.matches(&fields(&[("prefer", "a=\"x, y\""), ("prefer", "b")])));
        assert!(!variant.matches(&fields(&[("prefer", "a=\"x,y\", b")])));
        assert!(!variant.matches(&fields(&[("prefer", "a=\"x"), ("prefer", "y\", B")])));
    }

    #[test]
    fn section_4_1_an_absent_field_is_not_an_empty_one() {
        let variant = Variant::of(&fields(&[("vary", "accept")]), &HeaderMap::new());
        assert!(variant.matches(&HeaderMap::new()));
        assert!(!variant.matches(&fields(&[("accept", "")])));
    }

    #[test]
    fn section_4_1_the_credential_and_trace_fields_never_select() {
        let response = fields(&[("vary", "Authorization, Accept-Encoding, Origin, traceparent, tracestate")]);
        let variant = Variant::of(&response, &fields(&[("authorization", "Bearer one")]));
        assert!(variant.matches(&fields(&[("authorization", "Bearer two"), ("traceparent", "x")])));
    }

    proptest! {
        #[test]
        fn no_key_crosses_credentials(one in "[a-z]{0,9}", other in "[a-z]{0,9}", rest in prop::array::uniform3("[a-z/?]{0,9}")) {
            let key = |credential: &str, rest: &[String; 3]| {
                PrimaryKey::new(credential.as_bytes(), &rest[0], &rest[1], Some(rest[2].as_bytes()))
            };
            prop_assert_eq!(key(&one, &rest) == key(&other, &rest), one == other);
            // Moving bytes from one part to the next must change the key.
            let moved = [format!("{one}{}", rest[0]), rest[1].clone(), rest[2].clone()];
            prop_assert!(key("", &moved) != key(&one, &rest) || one.is_empty());
        }

        #[test]
        fn section_4_1_a_request_selects_its_own_answer_and_selecting_has_no_direction(
            vary in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b','), 0x20_u8..0x7f, 0x80_u8..], 0..9), 0..4),
            one in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), 0x20_u8..0x7f, 0x80_u8..], 0..6), 0..3),
            other in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), 0x20_u8..0x7f, 0x80_u8..], 0..6), 0..3),
        ) {
            let of = |name: &'static str, lines: &[Vec<u8>]| {
                let mut fields = HeaderMap::new();
                for line in lines {
                    fields.append(name, HeaderValue::from_bytes(line.trim_ascii()).expect("a value"));
                }
                fields
            };
            let mut response = of("vary", &vary);
            response.append("vary", HeaderValue::from_static("x-a"));
            let (one, other) = (of("x-a", &one), of("x-a", &other));
            let variant = Variant::of(&response, &one);
            prop_assert!(variant.matches(&one));
            prop_assert_eq!(variant.matches(&other), Variant::of(&response, &other).matches(&one));
            prop_assert_eq!(variant.matches(&other), Variant::of(&response, &other) == variant);
        }

        #[test]
        fn equal_keys_are_made_by_equal_inputs_only(
            one in prop::array::uniform4("[ab/?]{0,3}"), other in prop::array::uniform4("[ab/?]{0,3}")
        ) {
            let key = |parts: &[String; 4]| {
                let seen_by = Some(parts[3].as_bytes()).filter(|seen_by| !seen_by.is_empty());
                PrimaryKey::new(parts[0].as_bytes(), &parts[1], &parts[2], seen_by)
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
