//! The header fields of a stored response: those of the origin and those for clients, in one compact list.
//!
//! Most fields are in both sets, so each is stored once: first the fields for clients only, then the common
//! ones, then the origin's only. Most responses have the same names, so the names are shared between
//! responses, together with a prepared header table for clients. The values are slices of one buffer of their
//! own: a value from hyper would keep the buffer of the whole response head alive.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use http::header::{AGE, HeaderMap, HeaderName, HeaderValue};

use crate::prepared_head::{OWN, PreparedHead};

/// The header fields of a stored response.
#[derive(Clone, Debug)]
pub struct StoredFields {
    shape: Arc<Shape>,
    /// Whether this response created the shape: the shape's memory is counted with this response. Once it is
    /// evicted, the shape is not counted any more, an error of a few kilobytes per shape in use.
    first_of_shape: bool,
    /// The values, in the order of the shape's names.
    values: Box<[HeaderValue]>,
}

/// The data that responses with the same field names share.
#[derive(Debug)]
struct Shape {
    names: Box<[HeaderName]>,
    /// The index of the origin's first field.
    of_origin: usize,
    /// The index after the last field for clients.
    for_clients: usize,
    /// The prepared header table for clients. `Age` is the first field, because it differs in each response.
    head: PreparedHead,
}

/// The number of shapes that each thread remembers. An API has a few.
const MOST_SHAPES: usize = 16;

thread_local! {
    /// The most recently used first.
    static SHAPES: RefCell<Vec<Arc<Shape>>> = const { RefCell::new(Vec::new()) };
}

impl StoredFields {
    /// Builds the list from the origin's fields, the filter for those that clients get (`passes`, by name),
    /// and the fields that are added for clients. If `kept` is false, the response is not stored, and values
    /// may share the received buffer.
    #[must_use]
    pub fn new(
        origin: &HeaderMap,
        passes: impl Fn(&HeaderName) -> bool,
        added: &[(HeaderName, HeaderValue)],
        kept: bool,
    ) -> Self {
        let passes = |name: &HeaderName| {
            passes(name)
                && !OWN.contains(name)
                && *name != AGE
                && added.iter().all(|(added, _)| added != name)
        };
        let mut all: Vec<_> = Vec::with_capacity(origin.len() + added.len());
        all.extend(added.iter().map(|(name, value)| (name, value)));
        let of_origin = all.len();
        all.extend(origin.iter().filter(|(name, _)| passes(name)));
        let for_clients = all.len();
        all.extend(origin.iter().filter(|(name, _)| !passes(name)));
        let (shape, first_of_shape) = Shape::of(&all, of_origin, for_clients);
        let values =
            if kept { detached(&all) } else { all.iter().map(|(_, value)| (*value).clone()).collect() };
        Self { shape, first_of_shape, values }
    }

    /// The fields for a client, with this `Age`.
    #[must_use]
    pub fn for_clients(&self, age: HeaderValue) -> HeaderMap {
        let values = self.values[..self.shape.for_clients].iter().cloned();
        self.shape.head.with(std::iter::once(age).chain(values))
    }

    /// The first field of this name that clients get.
    #[must_use]
    pub fn client(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let place = self.shape.names[..self.shape.for_clients].iter().position(|known| known == name)?;
        Some(&self.values[place])
    }

    /// The fields that the origin sent.
    #[must_use]
    pub fn of_origin(&self) -> HeaderMap {
        let names = &self.shape.names[self.shape.of_origin..];
        let mut fields = HeaderMap::with_capacity(names.len());
        for (name, value) in names.iter().zip(&self.values[self.shape.of_origin..]) {
            fields.append(name, value.clone());
        }
        fields
    }

    /// The first field of this name that the origin sent.
    #[must_use]
    pub fn origin(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let of_origin = self.shape.of_origin;
        let place = self.shape.names[of_origin..].iter().position(|known| known == name)?;
        Some(&self.values[of_origin + place])
    }

    /// The memory use in bytes, without the struct itself. `allocation` is the overhead of one allocation.
    #[must_use]
    pub fn weight(&self, allocation: usize) -> usize {
        let values = SHARED + 2 * allocation + self.values.iter().map(HeaderValue::len).sum::<usize>();
        let shape = if self.first_of_shape { self.shape.weight(allocation) } else { 0 };
        size_of_val(&*self.values) + allocation + values + shape
    }
}

/// The size of the shared header of a buffer.
const SHARED: usize = 40;

impl Shape {
    /// Finds or creates the shape of these fields. Returns true with a new one.
    fn of(fields: &[(&HeaderName, &HeaderValue)], of_origin: usize, for_clients: usize) -> (Arc<Self>, bool) {
        let is_theirs = |shape: &Arc<Self>| {
            shape.of_origin == of_origin
                && shape.for_clients == for_clients
                && shape.names.iter().eq(fields.iter().map(|(name, _)| *name))
        };
        SHAPES.with_borrow_mut(|shapes| {
            let known = shapes.iter().position(is_theirs);
            let shape = known.map_or_else(
                || Arc::new(Self::new(fields, of_origin, for_clients)),
                |place| shapes.remove(place),
            );
            shapes.truncate(MOST_SHAPES - 1);
            shapes.insert(0, Arc::clone(&shape));
            (shape, known.is_none())
        })
    }

    fn new(fields: &[(&HeaderName, &HeaderValue)], of_origin: usize, for_clients: usize) -> Self {
        let names: Box<[_]> = fields.iter().map(|(name, _)| (*name).clone()).collect();
        let head = PreparedHead::new(std::iter::once(&AGE).chain(&names[..for_clients]));
        Self { names, of_origin, for_clients, head }
    }

    /// The memory use in bytes. Counts each name as an allocation of its own, as non-standard names are.
    fn weight(&self, allocation: usize) -> usize {
        let texts = |name: &HeaderName| name.as_str().len() + SHARED + 2 * allocation;
        size_of::<Self>()
            + size_of_val(&*self.names)
            + self.names.iter().map(texts).sum::<usize>()
            + self.head.weight()
            + 4 * allocation
    }
}

/// Copies the values into one buffer.
fn detached(fields: &[(&HeaderName, &HeaderValue)]) -> Box<[HeaderValue]> {
    let mut buffer = BytesMut::with_capacity(fields.iter().map(|(_, value)| value.len()).sum());
    for (_, value) in fields {
        buffer.put_slice(value.as_bytes());
    }
    let mut rest = buffer.freeze();
    let copied = fields.iter().map(|(_, value)| {
        let copy = HeaderValue::from_maybe_shared(rest.split_to(value.len()));
        copy.unwrap_or_else(|_| (*value).clone())
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
            ("x-content-type-options", "of the origin's own"),
        ]);
        let passes = |name: &HeaderName| !["cache-control", "age"].contains(&name.as_str());
        let added = [("cache-control", "no-cache"), ("x-added", "")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let stored = StoredFields::new(&origin, passes, &added, true);
        assert_eq!(stored.of_origin(), origin);
        let given = stored.for_clients(HeaderValue::from_static("7"));
        let clients = map(&[
            ("x-request-id", ""),
            ("cache-status", ""),
            ("x-tenant", ""),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("age", "7"),
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
        assert_eq!(stored.client(&http::header::CACHE_CONTROL), clients.get("cache-control"));
        assert_eq!(stored.client(&http::header::AGE), None);
    }

    #[test]
    fn a_stored_value_does_not_hold_on_to_the_head_that_it_came_in() {
        let head = Bytes::from("x".repeat(1000));
        let mut origin = HeaderMap::new();
        let value = HeaderValue::from_maybe_shared(head.slice(10..20)).expect("a value");
        origin.insert("etag", value);
        let stored = StoredFields::new(&origin, |_| true, &[], true);
        drop(origin);
        assert!(head.is_unique(), "nobody else holds it");
        assert_eq!(stored.client(&http::header::ETAG), Some(&HeaderValue::from_static("xxxxxxxxxx")));
    }

    #[test]
    fn responses_with_the_same_names_share_them_and_the_first_alone_weighs_more_for_that() {
        let stored = |lines| StoredFields::new(&map(lines), |_| true, &[], true);
        let one = stored(&[("x-one", "1"), ("x-two", "2")]);
        let other = stored(&[("x-one", "3"), ("x-two", "4")]);
        assert!(Arc::ptr_eq(&one.shape, &other.shape));
        assert!(one.weight(32) > other.weight(32) + 500);
        for different in [
            &[("x-one", "1")][..],
            &[("x-two", "2"), ("x-one", "1")],
            &[("x-one", "1"), ("x-two", "2"), ("x-two", "2")],
        ] {
            assert!(!Arc::ptr_eq(&one.shape, &stored(different).shape), "{different:?}");
        }
        let kept_from_clients =
            StoredFields::new(&map(&[("x-one", "1"), ("x-two", "2")]), |_| false, &[], true);
        assert!(!Arc::ptr_eq(&one.shape, &kept_from_clients.shape));
    }

    #[test]
    fn no_more_shapes_are_remembered_than_the_latest() {
        let shape = |name: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_static(""),
            );
            StoredFields::new(&fields, |_| true, &[], true).shape
        };
        let often = shape("x-often");
        for number in 0..3 * MOST_SHAPES {
            drop(shape(&format!("x-{number}")));
            assert!(Arc::ptr_eq(&often, &shape("x-often")), "what is used stays");
        }
        let first = shape("x-0");
        assert_eq!(SHAPES.with_borrow(Vec::len), MOST_SHAPES);
        assert_eq!(Arc::strong_count(&first), 2, "it was made anew");
    }
}
