//! `Cache-Control` of responses and requests (RFC 9111, section 5.2; RFC 5861).
//!
//! Parsing never fails. An ambiguous field gets its strictest reading: a repeated lifetime counts with its
//! shortest value (`min-fresh` with its longest), a malformed lifetime is zero, and an unknown directive is
//! ignored.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

use super::list;

/// The `Cache-Control` directives of a response.
#[expect(clippy::struct_excessive_bools, reason = "each is a directive of its own")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `no-store`: the response must not be stored.
    pub no_store: bool,
    /// `no-cache`: no reuse without validation, for the whole response or for the named fields.
    pub no_cache: Option<Qualified>,
    /// `private`: not for a shared cache, for the whole response or for the named fields.
    pub private: Option<Qualified>,
    /// `public`: may be stored even where storing would otherwise be prohibited.
    pub public: bool,
    /// `must-revalidate`: must not be reused once stale.
    pub must_revalidate: bool,
    /// `proxy-revalidate`: must not be reused once stale by a shared cache.
    pub proxy_revalidate: bool,
    /// `must-understand`: to be stored only if the cache understands the status code.
    pub must_understand: bool,
    /// `no-transform`: intermediaries must not transform the content.
    pub no_transform: bool,
    /// `max-age`: freshness lifetime.
    pub max_age: Option<Duration>,
    /// `s-maxage`: freshness lifetime in a shared cache.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate`: how long after that the response may be served while it is revalidated (RFC
    /// 5861, section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error`: how long after that the response may be served on an error (RFC 5861, section 4).
    pub stale_if_error: Option<Duration>,
}

/// The scope of a `no-cache` or `private` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Qualified {
    /// The whole response.
    Whole,
    /// These fields only.
    Fields(Vec<HeaderName>),
}

/// The `Cache-Control` directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `no-cache`: no reuse without validation.
    pub no_cache: bool,
    /// `no-store`: the response must not be stored.
    pub no_store: bool,
    /// `max-age`: the highest age that is accepted.
    pub max_age: Option<Duration>,
    /// `max-stale`: the highest staleness that is accepted. [`Duration::MAX`] if the directive has no
    /// argument.
    pub max_stale: Option<Duration>,
    /// `min-fresh`: how long the response must remain fresh.
    pub min_fresh: Option<Duration>,
    /// `only-if-cached`: answer from the cache or with 504.
    pub only_if_cached: bool,
}

impl ResponseDirectives {
    /// Reads the `Cache-Control` of a response.
    #[must_use]
    pub fn read(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for_each(fields, |name, argument| match name {
            b"no-store" => directives.no_store = true,
            b"no-cache" => stricter(&mut directives.no_cache, argument),
            b"private" => stricter(&mut directives.private, argument),
            b"public" => directives.public = true,
            b"must-revalidate" => directives.must_revalidate = true,
            b"proxy-revalidate" => directives.proxy_revalidate = true,
            b"must-understand" => directives.must_understand = true,
            b"no-transform" => directives.no_transform = true,
            b"max-age" => shorter(&mut directives.max_age, argument),
            b"s-maxage" => shorter(&mut directives.s_maxage, argument),
            b"stale-while-revalidate" => shorter(&mut directives.stale_while_revalidate, argument),
            b"stale-if-error" => shorter(&mut directives.stale_if_error, argument),
            _ => {}
        });
        directives
    }
}

impl RequestDirectives {
    /// Reads the `Cache-Control` of a request. Without that field, `Pragma: no-cache` counts as `no-cache`
    /// (section 5.4).
    #[must_use]
    pub fn read(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if !fields.contains_key(CACHE_CONTROL) {
            let pragma = fields.get_all(PRAGMA).iter();
            directives.no_cache = pragma
                .flat_map(|value| members(value.as_bytes()))
                .any(|member| member.0.eq_ignore_ascii_case(b"no-cache"));
            return directives;
        }
        for_each(fields, |name, argument| match name {
            b"no-cache" => directives.no_cache = true,
            b"no-store" => directives.no_store = true,
            b"max-age" => shorter(&mut directives.max_age, argument),
            b"min-fresh" => {
                let longest = directives.min_fresh.unwrap_or_default();
                directives.min_fresh = Some(longest.max(seconds(argument).unwrap_or(Duration::MAX)));
            }
            b"max-stale" if argument.is_none() => {
                directives.max_stale = Some(directives.max_stale.unwrap_or(Duration::MAX));
            }
            b"max-stale" => shorter(&mut directives.max_stale, argument),
            b"only-if-cached" => directives.only_if_cached = true,
            _ => {}
        });
        directives
    }
}

fn stricter(directive: &mut Option<Qualified>, argument: Option<&[u8]>) {
    let names = argument.map(field_names).filter(|names| !names.is_empty());
    match (directive.as_mut(), names) {
        (Some(Qualified::Whole), _) => {}
        (Some(Qualified::Fields(known)), Some(names)) => known.extend(names),
        (None, Some(names)) => *directive = Some(Qualified::Fields(names)),
        // Without valid field names the directive applies to the whole response.
        (_, None) => *directive = Some(Qualified::Whole),
    }
}

fn field_names(argument: &[u8]) -> Vec<HeaderName> {
    argument
        .split(|byte| *byte == b',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Sets a lifetime. A repeated directive counts with its shortest value, a malformed one as zero (section
/// 4.2.1).
fn shorter(time: &mut Option<Duration>, argument: Option<&[u8]>) {
    let read = argument.and_then(|argument| seconds(Some(argument))).unwrap_or(Duration::ZERO);
    *time = Some(time.map_or(read, |known| known.min(read)));
}

/// Parses delta-seconds (section 1.2.2). A value above 2^31 counts as 2^31.
fn seconds(argument: Option<&[u8]>) -> Option<Duration> {
    let digits = argument?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0')).filter(|number| *number <= 1 << 31)
    });
    Some(Duration::from_secs(u64::from(number.unwrap_or(1 << 31))))
}

/// The value of the `Age` field in seconds (section 5.1). Only the first list member counts; a malformed one
/// is ignored.
#[must_use]
pub fn age(fields: &HeaderMap) -> Option<Duration> {
    let value = fields.get(http::header::AGE)?.as_bytes();
    seconds(Some(value.split(|byte| *byte == b',').next()?.trim_ascii()))
}

fn for_each(fields: &HeaderMap, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
    for value in fields.get_all(CACHE_CONTROL) {
        for (name, argument) in members(value.as_bytes()) {
            visit(&name.to_ascii_lowercase(), argument.as_deref());
        }
    }
}

/// The members of a list of directives. A comma or quote inside a quoted string belongs to the string. A
/// member whose name is not ASCII is dropped. A non-ASCII argument makes the directive malformed, which gives
/// it its strictest reading.
fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], Option<Vec<u8>>)> {
    list::members(value).filter_map(|member| {
        let equals = member.iter().position(|byte| *byte == b'=').unwrap_or(member.len());
        let name = member[..equals].trim_ascii();
        let argument = member.get(equals + 1..).map(|argument| unquoted(argument.trim_ascii()));
        (!name.is_empty() && name.is_ascii()).then_some((name, argument))
    })
}

fn unquoted(argument: &[u8]) -> Vec<u8> {
    let [b'"', inner @ .., b'"'] = argument else { return argument.to_vec() };
    let mut escaped = false;
    inner
        .iter()
        .copied()
        .filter(|byte| {
            let drop = !escaped && *byte == b'\\';
            escaped = drop;
            !drop
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::read(&fields(lines))
    }

    fn request(lines: &[&str]) -> RequestDirectives {
        RequestDirectives::read(&fields(lines))
    }

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(CACHE_CONTROL, http::HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
        }
        fields
    }

    #[expect(clippy::unnecessary_wraps, reason = "what it is compared with is optional")]
    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn section_5_2_all_lines_count_and_case_does_not() {
        let directives = response(&["Max-Age=60, NO-STORE", "public"]);
        assert_eq!(directives.max_age, secs(60));
        assert!(directives.no_store && directives.public);
    }

    #[test]
    fn section_4_2_1_conflicts_take_the_strictest_reading() {
        assert_eq!(response(&["max-age=60, max-age=5"]).max_age, secs(5));
        assert_eq!(response(&["max-age=60, max-age=x"]).max_age, secs(0));
        assert_eq!(response(&["max-age=-1"]).max_age, secs(0));
        assert_eq!(response(&["max-age=1.5"]).max_age, secs(0));
        assert_eq!(response(&["max-age"]).max_age, secs(0));
        assert_eq!(response(&["private=\"a\", private"]).private, Some(Qualified::Whole));
        assert_eq!(request(&["max-stale=5, max-stale"]).max_stale, secs(5));
        assert_eq!(request(&["min-fresh=5, min-fresh=9"]).min_fresh, secs(9));
    }

    #[test]
    fn section_5_2_quoted_arguments_are_read_and_their_commas_do_not_split() {
        assert_eq!(response(&["max-age=\"60\""]).max_age, secs(60));
        let directives = response(&["no-cache=\"set-cookie, x-a\", max-age=9"]);
        let names = vec![http::header::SET_COOKIE, HeaderName::from_static("x-a")];
        assert_eq!(directives.no_cache, Some(Qualified::Fields(names)));
        assert_eq!(directives.max_age, secs(9));
        assert!(!response(&["extension=\"no-store, max-age=1\""]).no_store);
    }

    #[test]
    fn section_5_2_a_name_that_is_not_ascii_is_lost_with_its_member_alone() {
        let directives = response(&["é=1, max-age=7"]);
        assert_eq!(directives.max_age, secs(7));
    }

    #[test]
    fn section_5_2_an_argument_that_cannot_be_read_leaves_its_directive_at_its_strictest() {
        assert_eq!(response(&["max-age=é"]).max_age, secs(0));
        assert_eq!(response(&["private=\"é\""]).private, Some(Qualified::Whole));
        assert_eq!(response(&["no-cache=\"\""]).no_cache, Some(Qualified::Whole));
        assert!(response(&["no-store=é"]).no_store);
        assert_eq!(request(&["max-age=é, max-stale=é, min-fresh=é"]).min_fresh, Some(Duration::MAX));
    }

    #[test]
    fn section_5_2_a_quote_that_is_not_closed_hides_nothing() {
        assert!(response(&["max-age=60, extension=\"a, no-store"]).no_store);
        assert!(response(&["extension=\"a", "b\", no-store"]).no_store);
        assert_eq!(response(&["private=\"set-cookie"]).private, Some(Qualified::Whole));
    }

    #[test]
    fn section_5_2_3_unknown_directives_are_ignored() {
        let unknown = response(&["immutable, x=y, \"no-store\", nostore, , =, max-age=7"]);
        assert_eq!(unknown, ResponseDirectives { max_age: secs(7), ..ResponseDirectives::default() });
        let unknown = request(&["private, must-revalidate, x=\"no-cache\", stale-if-error=9"]);
        assert_eq!(unknown, RequestDirectives::default());
    }

    #[test]
    fn section_5_2_2_every_directive_is_read_as_token_and_as_quoted_string() {
        for (token, quoted) in [
            ("max-age=5, s-maxage=6", "MAX-AGE=\"5\", S-Maxage=\"\\6\""),
            (
                "stale-while-revalidate=7, stale-if-error=8",
                "stale-while-revalidate=\"7\",stale-if-error=\"8\"",
            ),
            ("no-cache=x-a, private=x-b", "no-cache=\"x-a\", private=\"X-B\""),
        ] {
            assert_eq!(response(&[token]), response(&[quoted]));
            assert_ne!(response(&[token]), ResponseDirectives::default());
        }
        assert_eq!(
            request(&["max-age=1, max-stale=2, min-fresh=3"]),
            request(&["max-age=\"1\",max-stale=\"2\",min-fresh=\"3\""])
        );
    }

    #[test]
    fn section_5_1_the_first_age_counts_and_a_malformed_one_is_ignored() {
        let age_of = |lines: &[&str]| {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(http::header::AGE, line.parse().expect("a value"));
            }
            age(&fields)
        };
        assert_eq!(age_of(&["7, 9"]), secs(7));
        assert_eq!(age_of(&["7", "9"]), secs(7));
        for malformed in ["", "x, 9", "-1", "+1", "1.5", "\"7\""] {
            assert_eq!(age_of(&[malformed]), None, "{malformed}");
        }
        assert_eq!(age_of(&["99999999999999999999999999"]), secs(1 << 31));
    }

    #[test]
    fn section_1_2_2_a_huge_number_is_long_and_not_a_panic() {
        let huge = "9".repeat(400);
        assert_eq!(response(&[&format!("max-age={huge}")]).max_age, secs(1 << 31));
        let mut fields = HeaderMap::new();
        fields.insert(http::header::AGE, "18446744073709551615".parse().expect("a value"));
        assert_eq!(age(&fields), secs(1 << 31));
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        let mut fields = HeaderMap::new();
        fields.insert(PRAGMA, "no-cache".parse().expect("a value"));
        assert!(RequestDirectives::read(&fields).no_cache);
        fields.insert(CACHE_CONTROL, "max-stale".parse().expect("a value"));
        assert!(!RequestDirectives::read(&fields).no_cache);
    }
}
