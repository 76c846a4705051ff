//! Request paths: the tenant prefix, and the endpoint.
//!
//! Paths are not normalised. A path that could be interpreted in two ways (an encoded or doubled slash, dot
//! segments, backslashes, path parameters) is refused, so the path that the entitlement rules check is the
//! path that is sent upstream (CWE-22, CWE-444).

use std::sync::Arc;

use super::endpoint::{Endpoint, PathPattern};

/// The longest request target, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

/// The parts of a path.
#[derive(Debug)]
pub struct Target<'a> {
    /// The tenant prefix, for example `organizations/acme`.
    pub prefix: Option<&'a str>,
    /// The endpoint, if the path has one.
    pub endpoint: Option<&'a Arc<Endpoint>>,
    /// The rest of the path: the path upstream.
    pub path: &'a str,
}

/// The path could be interpreted in two ways. The text names the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Ambiguous(pub &'static str);

/// Splits a raw path into its tenant and its endpoint.
///
/// # Errors
/// [`Ambiguous`] for a path that is refused as a whole.
pub fn read<'a>(raw: &'a str, endpoints: &'a [Arc<Endpoint>]) -> Result<Target<'a>, Ambiguous> {
    let (prefix, path) = split_prefix(raw);
    let endpoint = endpoints.iter().find(|endpoint| endpoint.path.matches(path));
    let below_prefix = endpoint.is_some_and(|endpoint| matches!(endpoint.path, PathPattern::Prefix(_)));
    refuse_ambiguous(raw, below_prefix)?;
    Ok(Target { prefix, endpoint, path })
}

/// A suggestion for the error message: the path without superfluous slashes, if that has an endpoint.
#[must_use]
pub fn probably_meant(raw: &str, endpoints: &[Arc<Endpoint>]) -> Option<String> {
    let mut single = String::with_capacity(raw.len());
    for segment in raw.split('/').filter(|segment| !segment.is_empty()) {
        single.push('/');
        single.push_str(segment);
    }
    let leads_somewhere =
        single != raw && read(&single, endpoints).is_ok_and(|target| target.endpoint.is_some());
    leads_somewhere.then_some(single)
}

fn split_prefix(raw: &str) -> (Option<&str>, &str) {
    let Some(after_slash) = raw.strip_prefix('/') else { return (None, raw) };
    let Some((kind, rest)) = after_slash.split_once('/') else { return (None, raw) };
    if kind != "organizations" && kind != "instances" {
        return (None, raw);
    }
    let name_length = rest.find('/').unwrap_or(rest.len());
    let prefix_length = kind.len() + 1 + name_length;
    (Some(&after_slash[..prefix_length]), &after_slash[prefix_length..])
}

fn refuse_ambiguous(raw: &str, below_prefix: bool) -> Result<(), Ambiguous> {
    if is_plain(raw.as_bytes()) {
        return Ok(());
    }
    if !raw.starts_with('/') {
        return Err(Ambiguous("the path must begin with `/`"));
    }
    // Check for `//` before all else: the error can then suggest the correct path.
    if raw.as_bytes().windows(2).any(|pair| pair == b"//") {
        return Err(Ambiguous("the path has an empty segment (`//`)"));
    }
    for (position, byte) in raw.bytes().enumerate() {
        match byte {
            b'%' if below_prefix => refuse_structural_escape(&raw.as_bytes()[position..])?,
            b'%' => return Err(Ambiguous("the path must not be percent-encoded")),
            b'\\' => return Err(Ambiguous("the path has a backslash")),
            b';' => return Err(Ambiguous("the path has a path parameter (`;`)")),
            0x21..=0x7e => {}
            _ => return Err(Ambiguous("the path has a character that must not stand in a URL")),
        }
    }
    if raw.as_bytes().split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")) {
        return Err(Ambiguous("the path has a dot segment (`.` or `..`)"));
    }
    Ok(())
}

/// Whether the path needs no further checks. This is the fast path for nearly all requests.
fn is_plain(raw: &[u8]) -> bool {
    let mut before = b' ';
    let plain = raw.iter().all(|byte| {
        let fits = match byte {
            b'/' => before != b'/',
            b'-' | b'_' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        before = *byte;
        fits
    });
    plain && raw.first() == Some(&b'/')
}

/// Below an added prefix a path may be percent-encoded, but decoding must not change its structure.
fn refuse_structural_escape(escape: &[u8]) -> Result<(), Ambiguous> {
    let [b'%', high, low, ..] = escape else {
        return Err(Ambiguous("the path has an incomplete percent-encoding"));
    };
    let decoded =
        std::str::from_utf8(&[*high, *low]).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
    match decoded {
        None => Err(Ambiguous("the path has an incomplete percent-encoding")),
        Some(b'.' | b'/' | b'\\' | b';' | b'%') => {
            Err(Ambiguous("the path has an encoded dot, slash, backslash, semicolon or percent sign"))
        }
        Some(0..=0x1f | 0x7f) => Err(Ambiguous("the path has an encoded control character")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::{Content, DOCUMENTED, ForwardedFields, Narrowing};

    fn endpoints() -> Vec<Arc<Endpoint>> {
        let account = Narrowing::default();
        let mut all: Vec<_> = DOCUMENTED.iter().map(|one| Arc::new(one.endpoint(&account))).collect();
        all.push(Arc::new(Endpoint {
            position: 5,
            name: "reports".into(),
            path: PathPattern::Prefix("/reports/".into()),
            methods: vec![http::Method::GET],
            scope: None,
            content: Content::Opaque,
            forward_request_fields: ForwardedFields::All,
        }));
        all
    }

    #[test]
    fn a_prefix_names_the_tenant_and_the_rest_is_the_path_upstream() {
        let endpoints = endpoints();
        let target = read("/organizations/acme/express/usage/month", &endpoints).expect("a clear path");
        assert_eq!(target.prefix, Some("organizations/acme"));
        assert_eq!(target.path, "/express/usage/month");
        assert_eq!(&*target.endpoint.expect("an endpoint").name, "monthly_usage");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let endpoints = endpoints();
        for raw in [
            "/express/%69nvoices",
            "/organizations/acme%2f/express/invoices",
            "/express//invoices",
            "//express/invoices",
            "/express/../express/invoices",
            "/express/./invoices",
            "/express/invoices;a=b",
            "/express\\invoices",
            "express/invoices",
            "/reports/%2e%2e/x",
            "/reports/a%2Fb",
            "/reports/a%00",
            "/reports/a%2",
            "/reports/a%zz",
            "/reports/../express/invoices",
        ] {
            assert!(read(raw, &endpoints).is_err(), "{raw}");
        }
        assert!(read("/reports/a%20b", &endpoints).is_ok());
    }

    #[test]
    fn a_path_that_needs_no_second_look_is_one_that_the_whole_check_lets_through() {
        for raw in ["/", "/a", "/a/b-c_D/9", "/a/"] {
            assert!(is_plain(raw.as_bytes()), "{raw}");
        }
        for raw in [
            "", "a", "//", "/a//b", "/.", "/a.b", "/a/..", "/%61", "/a;b", "/a\\b", "/a b", "/\u{e9}", "/a\0",
        ] {
            assert!(!is_plain(raw.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_has_no_endpoint() {
        let endpoints = endpoints();
        for raw in
            ["/", "/express", "/express/invoices/", "/express/invoicesx", "/organizations/acme", "/reports/"]
        {
            let target = read(raw, &endpoints).expect("a clear path");
            assert!(target.endpoint.is_none(), "{raw}");
        }
    }

    #[test]
    fn a_slash_too_many_is_answered_with_the_right_path() {
        let endpoints = endpoints();
        assert_eq!(probably_meant("/express/invoices/", &endpoints).as_deref(), Some("/express/invoices"));
        assert_eq!(
            probably_meant("//organizations/acme//express/invoices", &endpoints).as_deref(),
            Some("/organizations/acme/express/invoices")
        );
        assert_eq!(probably_meant("/nowhere/", &endpoints), None);
    }
}
