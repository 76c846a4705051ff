//! The header fields of a stored response: those that the origin sent, and those for clients.
//!
//! The values are slices of a separate buffer: a value from hyper would keep the buffer of the whole response head
//! alive.

use bytes::{BufMut as _, BytesMut};
use http::header::{AGE, HeaderMap, HeaderName, HeaderValue};

use crate::headers::{CACHE_STATUS, SAME_FOR_ALL, X_REQUEST_ID, X_TENANT};

/// The header fields of a stored response.
#[derive(Clone, Debug)]
pub struct StoredFields {
    origin: HeaderMap,
    /// Contains the fields that differ in each response as well, with empty values: setting them then allocates nothing.
    for_clients: HeaderMap,
}

/// The fields that differ in each response to a client.
const SET_PER_RESPONSE: [HeaderName; 4] = [X_REQUEST_ID, CACHE_STATUS, X_TENANT, AGE];

impl StoredFields {
    /// Takes the origin's fields. Clients get those that `passes` selects by name, and `added`. If `stored` is false,
    /// values may share the received buffer.
    #[must_use]
    pub fn new(
        origin: &HeaderMap,
        passes: impl Fn(&HeaderName) -> bool,
        added: &[(HeaderName, HeaderValue)],
        stored: bool,
    ) -> Self {
        let origin = if stored { detached(origin) } else { origin.clone() };
        let mut for_clients = HeaderMap::with_capacity(
            origin.len() + added.len() + SET_PER_RESPONSE.len() + SAME_FOR_ALL.len(),
        );
        for (name, value) in origin.iter().filter(|(name, _)| passes(name)) {
            for_clients.append(name, value.clone());
        }
        let set_per_response = SET_PER_RESPONSE.map(|name| (name, HeaderValue::from_static("")));
        for (name, value) in added.iter().cloned().chain(SAME_FOR_ALL).chain(set_per_response) {
            for_clients.insert(name, value);
        }
        Self { origin, for_clients }
    }

    /// The fields for a client, with this `Age`. `X-Request-Id`, `Cache-Status` and `X-Tenant` are empty: the caller sets
    /// them.
    #[must_use]
    pub fn for_clients(&self, age: HeaderValue) -> HeaderMap {
        let mut fields = self.for_clients.clone();
        fields.insert(AGE, age);
        fields
    }

    /// The first field of this name that clients get.
    #[must_use]
    pub fn client(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.for_clients.get(name)
    }

    /// The fields that the origin sent.
    #[must_use]
    pub fn of_origin(&self) -> &HeaderMap {
        &self.origin
    }

    /// The first field of this name that the origin sent.
    #[must_use]
    pub fn origin(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.origin.get(name)
    }

    /// The memory use in bytes, without the struct itself. `allocation` is the overhead of one allocation.
    #[must_use]
    pub fn weight(&self, allocation: usize) -> usize {
        /// The table's overhead per field, beside name and value.
        const PER_FIELD: usize = 40;
        let table = |fields: &HeaderMap| {
            fields.capacity() * (size_of::<HeaderName>() + size_of::<HeaderValue>() + PER_FIELD)
                + 2 * allocation
        };
        let texts: usize = self
            .for_clients
            .iter()
            .chain(&self.origin)
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        table(&self.origin) + table(&self.for_clients) + texts + allocation
    }
}

/// A copy whose values share one new buffer.
fn detached(fields: &HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(fields.values().map(HeaderValue::len).sum());
    for value in fields.values() {
        buffer.put_slice(value.as_bytes());
    }
    let mut rest = buffer.freeze();
    let mut copy = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let copied = HeaderValue::from_maybe_shared(rest.split_to(value.len()));
        copy.append(name, copied.unwrap_or_else(|_| value.clone()));
    }
    copy
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
    fn clients_get_the_fields_that_pass_those_that_are_added_and_the_proxys_own() {
        let origin = map(&[
            ("cache-control", "max-age=5"),
            ("age", "3"),
            ("vary", "accept"),
            ("vary", "accept-language"),
            ("content-type", "application/json"),
            ("x-content-type-options", "of the origin's own"),
        ]);
        let passes = |name: &HeaderName| *name != "cache-control";
        let added = [("cache-control", "no-cache"), ("x-added", "")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let stored = StoredFields::new(&origin, passes, &added, true);
        assert_eq!(*stored.of_origin(), origin);
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
        assert_eq!(stored.for_clients(HeaderValue::from_static("7")), clients);
        assert_eq!(stored.origin(&AGE), origin.get("age"));
        assert_eq!(stored.origin(&HeaderName::from_static("x-added")), None);
        assert_eq!(stored.client(&http::header::CACHE_CONTROL), clients.get("cache-control"));
    }

    #[test]
    fn a_stored_value_does_not_keep_the_received_head_in_memory() {
        let head = Bytes::from("x".repeat(1000));
        let mut origin = HeaderMap::new();
        let value = HeaderValue::from_maybe_shared(head.slice(10..20)).expect("a value");
        origin.insert("etag", value);
        let stored = StoredFields::new(&origin, |_| true, &[], true);
        drop(origin);
        assert!(head.is_unique());
        assert_eq!(stored.client(&http::header::ETAG), Some(&HeaderValue::from_static("xxxxxxxxxx")));
    }
}
