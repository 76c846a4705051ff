//! Invalidation of stored responses by unsafe requests (RFC 9111, section 4.4).
//!
//! Not implemented: invalidation in other caches, and of URLs that a response's content names.

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::{Method, StatusCode};
use url::Url;

/// Whether a response invalidates what is stored for its URL: a non-error response to a method that is not
/// known to be safe.
#[must_use]
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The paths (with query) that such a response invalidates: the request's own, and those of `Location` and
/// `Content-Location` on the same origin. Other origins are not touched, so a response can't invalidate what
/// belongs to another origin.
#[must_use]
pub fn invalidated(origin: &str, path_and_query: &str, response: &HeaderMap) -> Vec<String> {
    let mut paths = vec![path_and_query.to_owned()];
    let Ok(base) = Url::parse(&format!("{origin}{path_and_query}")) else { return paths };
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = response.get_all(name).iter().filter_map(|value| base.join(value.to_str().ok()?).ok());
        for url in named.filter(|url| url.origin() == base.origin()) {
            let path = match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            };
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const ORIGIN: &str = "https://api.example.com";

    fn named(name: http::HeaderName, value: &str) -> Vec<String> {
        let mut response = HeaderMap::new();
        response.insert(name, value.parse().expect("a value"));
        invalidated(ORIGIN, "/reports/1?a=b", &response)
    }

    #[rstest]
    #[case(Method::POST, 200, true)]
    #[case(Method::PUT, 204, true)]
    #[case(Method::DELETE, 303, true)]
    #[case(Method::POST, 404, false)]
    #[case(Method::POST, 500, false)]
    #[case(Method::GET, 200, false)]
    #[case(Method::HEAD, 200, false)]
    fn section_4_4_only_a_successful_unsafe_request_invalidates(
        #[case] method: Method,
        #[case] status: u16,
        #[case] expected: bool,
    ) {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(invalidates(&method, status), expected);
    }

    #[test]
    fn section_4_4_a_method_of_unknown_safety_invalidates() {
        assert!(invalidates(&"M-SEARCH".parse().expect("a method"), StatusCode::OK));
    }

    #[rstest]
    #[case::absolute("https://api.example.com/reports/2", "/reports/2")]
    #[case::the_default_port("https://api.example.com:443/reports/2", "/reports/2")]
    #[case::a_path("/reports/2?c=d", "/reports/2?c=d")]
    #[case::relative("2", "/reports/2")]
    #[case::up("../other", "/other")]
    fn section_4_4_the_same_origin_is_invalidated(#[case] value: &str, #[case] path: &str) {
        for name in [LOCATION, CONTENT_LOCATION] {
            assert_eq!(named(name, value), ["/reports/1?a=b", path]);
        }
    }

    #[rstest]
    #[case::another_host("https://elsewhere.example.com/reports/2")]
    #[case::another_scheme("http://api.example.com/reports/2")]
    #[case::another_port("https://api.example.com:8443/reports/2")]
    #[case::no_scheme("//elsewhere.example.com/reports/2")]
    fn section_4_4_another_origin_is_not(#[case] value: &str) {
        assert_eq!(named(LOCATION, value), ["/reports/1?a=b"]);
    }
}
