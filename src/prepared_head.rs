//! The table of an answer's fields, built beforehand. An answer that is given again and again has the same names each
//! time, and in other values alone it differs; so a table with those names is built once, and for each answer it is copied
//! and its values are put in their places. No name is hashed, and the table never grows.
//!
//! What every answer carries comes first in it, at places that are known ([`Places`]), so that those can be filled by
//! who knows them, when he does.
//!
//! Deliberately absent: a head as bytes. hyper writes heads from tables.

use http::header::{HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use crate::request_id::X_REQUEST_ID;

/// Who a request is for.
pub const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
/// What the cache did (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Who may show an answer: nobody from elsewhere.
pub const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What every answer carries, and is the same for each.
pub const SAME_FOR_ALL: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// What is the proxy's own to say, in every answer that is prepared, whatever the origin says of it.
pub const OWN: [HeaderName; 5] =
    [X_REQUEST_ID, CACHE_STATUS, X_TENANT, X_CONTENT_TYPE_OPTIONS, CROSS_ORIGIN_RESOURCE_POLICY];

/// A table of fields, with the proxy's own first.
#[derive(Clone, Debug)]
pub struct PreparedHead(HeaderMap);

/// What stands at the first places of a prepared table, and is another in each answer.
pub struct Places {
    /// The request's name.
    pub request_id: HeaderValue,
    /// What the cache did.
    pub cache_status: HeaderValue,
    /// Who it is for, where that is known.
    pub tenant: Option<HeaderValue>,
}

impl PreparedHead {
    /// A table of the proxy's own fields, and of these, none of which is among them. A name that comes more than once does so
    /// in a row.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        let names = names.into_iter();
        let mut table = HeaderMap::with_capacity(OWN.len() + names.size_hint().0);
        for name in OWN {
            table.insert(name, HeaderValue::from_static(""));
        }
        for (name, value) in SAME_FOR_ALL {
            table.insert(name, value);
        }
        for name in names {
            table.append(name, HeaderValue::from_static(""));
        }
        Self(table)
    }

    /// A copy with these values, in the order of the names; the proxy's own are left to [`Places::fill`].
    #[must_use]
    pub fn with(&self, values: impl IntoIterator<Item = HeaderValue>) -> HeaderMap {
        let mut table = self.0.clone();
        for (place, value) in table.values_mut().skip(OWN.len()).zip(values) {
            *place = value;
        }
        table
    }

    /// The memory that it takes beside its place.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// What the table keeps for each field beside name and value: its hash, its neighbours, and where it stands.
        const KEPT_WITH_IT: usize = 40;
        self.0.capacity() * (size_of::<HeaderName>() + size_of::<HeaderValue>() + KEPT_WITH_IT)
    }
}

impl Places {
    /// Whether a table has these places: nothing but the proxy names a request in an answer, so only a prepared one begins
    /// with that.
    #[must_use]
    pub fn are_in(table: &HeaderMap) -> bool {
        table.keys().next() == Some(&X_REQUEST_ID)
    }

    /// Fills the first places of a prepared table.
    pub fn fill(self, table: &mut HeaderMap) {
        let Self { request_id, cache_status, tenant } = self;
        let Some(tenant) = tenant else {
            table.insert(X_REQUEST_ID, request_id);
            table.insert(CACHE_STATUS, cache_status);
            table.remove(X_TENANT);
            return;
        };
        for (place, value) in table.values_mut().zip([request_id, cache_status, tenant]) {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{CONTENT_TYPE, VARY};

    fn table(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut table = HeaderMap::new();
        for (name, value) in lines {
            table.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        table
    }

    fn places(tenant: Option<&'static str>) -> Places {
        Places {
            request_id: HeaderValue::from_static("a-request"),
            cache_status: HeaderValue::from_static("a-status"),
            tenant: tenant.map(HeaderValue::from_static),
        }
    }

    #[test]
    fn each_value_comes_to_stand_under_its_own_name() {
        let prepared = PreparedHead::new([&CONTENT_TYPE, &VARY, &VARY]);
        let mut head = prepared.with(["a/b", "accept", "accept-language"].map(HeaderValue::from_static));
        assert!(Places::are_in(&head));
        places(Some("a-tenant")).fill(&mut head);
        let expected = [
            ("x-request-id", "a-request"),
            ("cache-status", "a-status"),
            ("x-tenant", "a-tenant"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-type", "a/b"),
            ("vary", "accept"),
            ("vary", "accept-language"),
        ];
        assert_eq!(head, table(&expected));
    }

    #[test]
    fn an_answer_for_nobody_that_is_known_names_no_tenant() {
        let mut head = PreparedHead::new([&CONTENT_TYPE]).with([HeaderValue::from_static("a/b")]);
        places(None).fill(&mut head);
        assert!(!head.contains_key(X_TENANT));
        assert_eq!(head[CONTENT_TYPE], "a/b");
        assert_eq!(head[X_REQUEST_ID], "a-request");
        assert_eq!(head[CACHE_STATUS], "a-status");
    }

    #[test]
    fn what_was_not_prepared_has_no_such_places() {
        assert!(!Places::are_in(&HeaderMap::new()));
        assert!(!Places::are_in(&table(&[("content-type", "a/b"), ("x-request-id", "1")])));
    }
}
