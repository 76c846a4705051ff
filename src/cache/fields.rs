//! The fields of a stored response: those of the origin, and those that clients get, in one short list.
//!
//! Most are both, so each stands there once: first what is for clients alone, then what is both, then what is the
//! origin's alone. A list and not a map, because a map takes three times the memory, and what answers a request goes
//! through all of them anyway. The values are slices of one buffer of their own: as hyper reads fields, each would hold
//! on to the whole head.

use bytes::{BufMut as _, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a stored response.
#[derive(Clone, Debug)]
pub struct StoredFields {
    all: Box<[(HeaderName, HeaderValue)]>,
    /// Where the origin's begin.
    of_origin: usize,
    /// Where those for clients end.
    for_clients: usize,
}

impl StoredFields {
    /// Of the fields of the origin, those of them that clients get (`passes`, by name), and what those get beside them.
    #[must_use]
    pub fn new(
        origin: &HeaderMap,
        passes: impl Fn(&HeaderName) -> bool,
        added: &[(HeaderName, HeaderValue)],
    ) -> Self {
        let mut all: Vec<_> = Vec::with_capacity(origin.len() + added.len());
        all.extend(added.iter().map(|(name, value)| (name, value)));
        let of_origin = all.len();
        all.extend(origin.iter().filter(|(name, _)| passes(name)));
        let for_clients = all.len();
        all.extend(origin.iter().filter(|(name, _)| !passes(name)));
        Self { all: detached(&all), of_origin, for_clients }
    }

    /// What clients get.
    #[must_use]
    pub fn for_clients(&self) -> &[(HeaderName, HeaderValue)] {
        &self.all[..self.for_clients]
    }

    /// What the origin sent.
    #[must_use]
    pub fn of_origin(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(self.all.len());
        for (name, value) in &self.all[self.of_origin..] {
            fields.append(name, value.clone());
        }
        fields
    }

    /// The first field of that name that the origin sent.
    #[must_use]
    pub fn origin(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.all[self.of_origin..].iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The memory that they take beside their place; `allocation` is what one takes beside what is asked for.
    #[must_use]
    pub fn weight(&self, allocation: usize) -> usize {
        /// The count of who shares a buffer.
        const SHARED: usize = 40;
        // A name that the standards do not have is an allocation of its own, with its count.
        let texts = |(name, value): &(HeaderName, HeaderValue)| {
            name.as_str().len() + SHARED + 2 * allocation + value.len()
        };
        let values = SHARED + 2 * allocation;
        size_of_val(&*self.all) + allocation + values + self.all.iter().map(texts).sum::<usize>()
    }
}

/// The fields, with their values in one buffer.
fn detached(fields: &[(&HeaderName, &HeaderValue)]) -> Box<[(HeaderName, HeaderValue)]> {
    let mut buffer = BytesMut::with_capacity(fields.iter().map(|(_, value)| value.len()).sum());
    for (_, value) in fields {
        buffer.put_slice(value.as_bytes());
    }
    let mut rest = buffer.freeze();
    let copied = fields.iter().map(|(name, value)| {
        let copy = HeaderValue::from_maybe_shared(rest.split_to(value.len()));
        ((*name).clone(), copy.unwrap_or_else(|_| (*value).clone()))
    });
    copied.collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn what_is_changed_taken_away_added_or_repeated_comes_back_on_its_side() {
        let origin = map(&[
            ("cache-control", "max-age=5"),
            ("age", "3"),
            ("vary", "accept"),
            ("vary", "accept-language"),
            ("content-type", "application/json"),
        ]);
        let passes = |name: &HeaderName| !["cache-control", "age"].contains(&name.as_str());
        let added = [("cache-control", "no-cache"), ("x-added", "")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let stored = StoredFields::new(&origin, passes, &added);
        assert_eq!(stored.of_origin(), origin);
        let given: HeaderMap =
            stored.for_clients().iter().cloned().fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        let clients = map(&[
            ("cache-control", "no-cache"),
            ("vary", "accept"),
            ("vary", "accept-language"),
            ("content-type", "application/json"),
            ("x-added", ""),
        ]);
        assert_eq!(given, clients);
        assert_eq!(stored.origin(&http::header::AGE), origin.get("age"));
        assert_eq!(stored.origin(&http::header::CACHE_CONTROL), origin.get("cache-control"));
        assert_eq!(stored.origin(&HeaderName::from_static("x-added")), None);
    }

    #[test]
    fn a_stored_value_does_not_hold_on_to_the_head_that_it_came_in() {
        let head = Bytes::from("x".repeat(1000));
        let mut origin = HeaderMap::new();
        let value = HeaderValue::from_maybe_shared(head.slice(10..20)).expect("a value");
        origin.insert("etag", value);
        let stored = StoredFields::new(&origin, |_| true, &[]);
        drop(origin);
        assert!(head.is_unique(), "nobody else holds it");
        assert_eq!(stored.for_clients()[0].1, "xxxxxxxxxx");
    }
}
