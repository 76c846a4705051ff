//! Request fields that are never sent upstream, whatever an endpoint forwards.
//!
//! These are credentials, which the proxy adds itself; hop-by-hop fields; conditional and content negotiation
//! fields, which the proxy sets itself; and fields with which a client could impersonate another.
//!
//! `Cache-Control` and `Pragma` are not included: a proxy forwards cache directives (RFC 9111, section 5.2). The
//! five documented endpoints do not list them, so a client's `no-cache` is not forwarded there.

use http::HeaderName;

const FORBIDDEN: [&str; 40] = [
    "accept-encoding",
    "authorization",
    "cdn-loop",
    "cf-connecting-ip",
    "client-ip",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "range",
    "remote-user",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-api-key",
    "x-auth-token",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-override-url",
    "x-real-ip",
    "x-remote-user",
    "x-request-id",
    "x-rewrite-url",
    "x-tenant",
];

const FORBIDDEN_PREFIXES: [&str; 5] = ["if-", "proxy-", "sec-", "x-forwarded", "x-original-"];

/// Whether a request field must not be sent upstream.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    // A server behind may read `_` as `-`, as CGI does, and some servers `.` as well.
    let name = &*name.as_str().replace(['_', '.'], "-");
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
            "Cookie2",
            "X-Method-Override",
            "X-Rewrite-URL",
            "X-Host",
            "X-Remote-User",
            "X_Forwarded_For",
            "X.Forwarded.For",
            "X_Tenant",
            "Proxy.Authorization",
        ] {
            assert!(is_forbidden(&name.parse().expect("a field name")), "{name}");
        }
        assert!(!is_forbidden(&"X-Report-Format".parse().expect("a field name")));
    }
}
