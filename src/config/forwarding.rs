//! Request fields that never go upstream, whatever an endpoint lets through.
//!
//! They are credentials, which are the proxy's part; fields that speak of one connection; the proxy's own
//! conditional and negotiating fields; and those by which a client could pass for somebody else.
//!
//! `Cache-Control` and `Pragma` are not among them: a proxy passes directives on (RFC 9111, section 5.2). None of the
//! five endpoints lists them, so there a client's `no-cache` stays here.

use http::HeaderName;

const FORBIDDEN: [&str; 26] = [
    "accept-encoding",
    "authorization",
    "client-ip",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-real-ip",
    "x-request-id",
    "x-tenant",
];

const FORBIDDEN_PREFIXES: [&str; 5] = ["if-", "proxy-", "sec-", "x-forwarded", "x-original-"];

/// Whether a request field must not go upstream.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    // What is behind may read `_` as `-`, as CGI does.
    let name = &*name.as_str().replace('_', "-");
    FORBIDDEN.contains(&name) || FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_the_fields_of_the_proxy_itself_are_forbidden() {
        for name in [
            "Authorization",
            "Cookie",
            "Host",
            "Connection",
            "X-Forwarded-For",
            "Forwarded",
            "X-Tenant",
            "If-None-Match",
            "If-Range",
            "Range",
            "Accept-Encoding",
            "Content-Length",
            "Proxy-Authorization",
            "TE",
        ] {
            assert!(is_forbidden(&name.parse().expect("a field name")), "{name}");
        }
        assert!(!is_forbidden(&"X-Report-Format".parse().expect("a field name")));
    }
}
