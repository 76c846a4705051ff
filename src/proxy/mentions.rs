//! Which of some fields a request has, found out in one look at their names. Most requests have none of them, and asking the
//! table for each in turn was a twentieth of the instructions of a hit.
//!
//! What a field says is read by who knows it; what is not mentioned is taken as absent, without a second look. They are
//! those that are asked after for every hit, but for `Host`, which every request has.

use http::header::{HeaderMap, HeaderName};

/// The fields that a request has, of those that are asked after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Mentions {
    /// `X-Request-Id`.
    pub request_id: bool,
    /// `X-Tenant`.
    pub tenant: bool,
    /// `Origin` or `Sec-Fetch-Site`: what a browser adds.
    pub page: bool,
    /// `Cache-Control` or `Pragma`.
    pub directives: bool,
    /// `Range`.
    pub range: bool,
    /// `If-None-Match` or `If-Modified-Since`: conditions that the cache may judge.
    pub conditions: bool,
}

impl Mentions {
    /// What these fields mention.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        let mut mentions = Self::default();
        for name in fields.keys().map(HeaderName::as_str) {
            match name {
                "x-request-id" => mentions.request_id = true,
                "x-tenant" => mentions.tenant = true,
                "origin" | "sec-fetch-site" => mentions.page = true,
                "cache-control" | "pragma" => mentions.directives = true,
                "range" => mentions.range = true,
                "if-none-match" | "if-modified-since" => mentions.conditions = true,
                _ => {}
            }
        }
        mentions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn mentioned(names: &[&'static str]) -> Mentions {
        let mut fields = HeaderMap::new();
        for name in names {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            fields.append(name, HeaderValue::from_static(""));
        }
        Mentions::of(&fields)
    }

    #[test]
    fn each_field_is_noticed_and_no_other_for_it() {
        let none = Mentions::default();
        for (name, expected) in [
            ("X-Request-Id", Mentions { request_id: true, ..none }),
            ("X-TENANT", Mentions { tenant: true, ..none }),
            ("Origin", Mentions { page: true, ..none }),
            ("Sec-Fetch-Site", Mentions { page: true, ..none }),
            ("Cache-Control", Mentions { directives: true, ..none }),
            ("Pragma", Mentions { directives: true, ..none }),
            ("Range", Mentions { range: true, ..none }),
            ("If-None-Match", Mentions { conditions: true, ..none }),
            ("If-Modified-Since", Mentions { conditions: true, ..none }),
            ("If-Range", none),
            ("Host", none),
            ("X-Request", none),
        ] {
            assert_eq!(mentioned(&[name]), expected, "{name}");
            assert_eq!(mentioned(&["accept", name, name, "user-agent"]), expected, "{name}");
        }
    }

    #[test]
    fn fields_are_noticed_side_by_side() {
        assert_eq!(mentioned(&[]), Mentions::default());
        let expected = Mentions { tenant: true, range: true, conditions: true, ..Mentions::default() };
        assert_eq!(mentioned(&["range", "x-tenant", "if-none-match"]), expected);
    }
}
