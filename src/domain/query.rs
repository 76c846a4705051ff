//! Query strings: their parameters, and the canonical form that is sent upstream and used in cache keys.
//!
//! Parameters are parsed as `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), so `%20` and `+`,
//! or `'` and `%27`, are equal. They are written sorted by name. All characters except the unreserved ones
//! (RFC 3986, section 2.3) are percent-encoded; a space is `%20`. Bytes that are not UTF-8 are preserved.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// All characters except `ALPHA / DIGIT / "-" / "." / "_" / "~"`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parameters that select a page of a list.
const PAGE_PARAMETERS: [&str; 2] = ["page", "cursor"];

/// A decoded parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter<'a> {
    name: Cow<'a, [u8]>,
    value: Cow<'a, [u8]>,
}

impl<'a> Parameter<'a> {
    /// A parameter with this name and value.
    #[must_use]
    pub fn new(name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        let value = match value.into() {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        };
        Self { name: Cow::Borrowed(name.as_bytes()), value }
    }

    /// The name, with replacement characters if it is not UTF-8.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The value, with replacement characters if it is not UTF-8.
    #[must_use]
    pub fn value(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }

    /// The value; none if it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// The length of name and value in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.name.len() + self.value.len()
    }

    /// A copy of the parameter that owns its data.
    #[must_use]
    pub fn to_owned(&self) -> Parameter<'static> {
        let owned = |part: &Cow<'_, [u8]>| Cow::Owned(part.clone().into_owned());
        Parameter { name: owned(&self.name), value: owned(&self.value) }
    }

    /// Whether it has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        *self.name == *name.as_bytes()
    }

    fn chooses_page(&self) -> bool {
        PAGE_PARAMETERS.iter().any(|name| self.is(name))
    }
}

/// The parameters of a query, in order, without empty ones (as between `&&`).
pub fn parameters(raw: &str) -> impl Iterator<Item = Parameter<'_>> {
    raw.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Parameter { name: decoded(name), value: decoded(value) }
    })
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}

/// Writes parameters in canonical form. Parameters with equal names keep their order, which may be
/// significant.
#[must_use]
pub fn written(mut parameters: Vec<Parameter<'_>>) -> String {
    parameters.sort_by(|one, other| one.name.cmp(&other.name));
    let mut query = String::new();
    for Parameter { name, value } in &parameters {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(percent_encode(name, RESERVED));
        query.push('=');
        query.extend(percent_encode(value, RESERVED));
    }
    query
}

/// The canonical form of a query.
#[must_use]
pub fn canonical(raw: &str) -> String {
    written(parameters(raw).collect())
}

/// A path, with the query if it is not empty.
#[must_use]
pub fn joined(path: &str, query: &str) -> Arc<str> {
    if query.is_empty() { path.into() } else { format!("{path}?{query}").into() }
}

/// A canonical path and query without the parameters that select a page. It is equal for all pages of a list.
#[must_use]
pub fn without_page(path_and_query: &str) -> Cow<'_, str> {
    let Some((path, query)) = path_and_query.split_once('?') else { return Cow::Borrowed(path_and_query) };
    if !parameters(query).any(|parameter| parameter.chooses_page()) {
        return Cow::Borrowed(path_and_query);
    }
    let rest = written(parameters(query).filter(|parameter| !parameter.chooses_page()).collect());
    if rest.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(format!("{path}?{rest}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_of_names_does_not_matter_and_that_of_equal_names_does() {
        assert_eq!(canonical("b=1&a=2&b=0"), "a=2&b=1&b=0");
        assert_eq!(canonical("&&page=1&"), "page=1");
        assert_ne!(canonical("a=1&a=2"), canonical("a=2&a=1"));
        assert_eq!(canonical(""), "");
    }

    #[test]
    fn every_spelling_of_a_query_has_one_form() {
        let form = "filter=account_id%20eq%20%27x%27";
        for spelling in [
            "filter=account_id%20eq%20%27x%27",
            "filter=account_id+eq+'x'",
            "filter=account_id%20eq+%27x'",
            "%66ilter=account%5Fid+eq+%27%78%27",
            "&filter=account_id+eq+'x'&",
        ] {
            assert_eq!(canonical(spelling), form, "{spelling}");
        }
        assert_eq!(canonical("a=%2B+%2b"), "a=%2B%20%2B", "an encoded plus is a plus");
        assert_eq!(canonical("a"), "a=");
        assert_eq!(canonical("a=b=c;d"), "a=b%3Dc%3Bd");
        assert_eq!(canonical("a=%zz%"), "a=%25zz%25");
        assert_eq!(canonical("a=%FF"), "a=%FF", "what is not UTF-8 stays what it is");
        assert_eq!(canonical("~-._=1"), "~-._=1");
    }

    #[test]
    fn an_encoded_name_is_the_name() {
        let all: Vec<_> = parameters("account%5Fid=x&b=%26").collect();
        assert!(all[0].is("account_id"));
        assert_eq!(all[1].value(), "&");
    }

    #[test]
    fn a_page_is_taken_out_in_every_spelling() {
        assert_eq!(without_page("/a?page=1&per_page=2&p%61ge=3&pages=4"), "/a?pages=4&per_page=2");
        assert_eq!(without_page("/a?cursor=abc&page=1"), without_page("/a"));
        assert_eq!(without_page("/a?filter=x"), "/a?filter=x");
    }

    #[test]
    fn a_value_can_not_add_a_parameter() {
        let parameters = vec![Parameter::new("page", "1&account_id=2;account_id=3#")];
        assert_eq!(written(parameters), "page=1%26account_id%3D2%3Baccount_id%3D3%23");
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_canonical_form_of_itself(raw in "[ -~é]{0,40}") {
            let once = canonical(&raw);
            prop_assert_eq!(canonical(&once), once.clone());
            let decoded = |query: &str| -> Vec<_> {
                form_urlencoded::parse(query.as_bytes()).into_owned().collect()
            };
            let mut expected = decoded(&raw);
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(decoded(&once), expected);
        }
    }
}
