//! Header fields: which are forwarded in each direction, and which the proxy adds
//! (RFC 9110, section 7.6; RFC 9209; RFC 9211; draft-ietf-httpapi-ratelimit-headers).

use std::num::NonZeroU32;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ALT_SVC, CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};

use crate::config::forwarding::is_forbidden;
use crate::domain::endpoint::ForwardedFields;
pub use crate::log::request_id::X_REQUEST_ID;
use crate::version::NAME;

/// Names the tenant of a request and of its response.
pub const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The fields that every response carries with the same value.
pub const SAME_FOR_ALL: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `Via` of a response that the proxy generates.
pub const OWN_VIA: &str = "1.1 billing-insights-proxy";
/// `Proxy-Status`: the error between the proxy and upstream (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// `RateLimit`: the remaining quota.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy`: the quota policy.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request fields that every endpoint forwards.
const ALWAYS_FORWARDED: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, TRACEPARENT, TRACESTATE];

/// Whether a field describes the connection and not the message (RFC 9110, section 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The client's fields that are forwarded: those of the allow-list, without those that `Connection` names.
#[must_use]
pub fn forwarded(request: &HeaderMap, allowed: &ForwardedFields) -> HeaderMap {
    let of_connection = named_by_connection(request);
    let may_pass = |name: &HeaderName| match allowed {
        ForwardedFields::Listed(listed) => listed.contains(name) && !is_forbidden(name),
        ForwardedFields::All => !is_forbidden(name),
    };
    copy(request, |name| (ALWAYS_FORWARDED.contains(name) || may_pass(name)) && !of_connection.contains(name))
}

/// The fields of a response, without hop-by-hop fields, fields that no client may get, and fields that only the proxy
/// sets.
#[must_use]
pub fn sanitised(response: &HeaderMap) -> HeaderMap {
    let of_connection = named_by_connection(response);
    copy(response, |name| {
        !is_hop_by_hop(name)
            && !of_connection.contains(name)
            && ![SET_COOKIE, WWW_AUTHENTICATE, X_TENANT, CACHE_STATUS, PROXY_STATUS].contains(name)
            && !name.as_str().starts_with("access-control-")
            && ![STRICT_TRANSPORT_SECURITY, ALT_SVC, RATE_LIMIT, RATE_LIMIT_POLICY].contains(name)
            && !matches!(name.as_str(), "set-cookie2" | "proxy-authentication-info")
    })
}

/// The number of fields that the proxy adds to a forwarded message.
const ADDED: usize = 4;

fn copy(fields: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    // With capacity for the fields that the proxy adds.
    let mut copied = HeaderMap::with_capacity(fields.keys_len() + ADDED);
    for (name, value) in fields {
        if passes(name) {
            copied.append(name, value.clone());
        }
    }
    copied
}

fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(CONNECTION).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Adds this proxy to `Via`.
pub fn add_via(fields: &mut HeaderMap, version: http::Version) {
    let via = match version {
        http::Version::HTTP_10 => "1.0 billing-insights-proxy",
        http::Version::HTTP_2 => "2 billing-insights-proxy",
        _ => OWN_VIA,
    };
    fields.append(http::header::VIA, HeaderValue::from_static(via));
}

/// The value of `Proxy-Status` for an error.
#[must_use]
pub fn proxy_status(error: &str, code: &str) -> HeaderValue {
    HeaderValue::try_from(format!("{NAME}; error={error}; details=\"{code}\""))
        .unwrap_or_else(|_| HeaderValue::from_static(NAME))
}

/// The state of a credential's rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// The maximum number of requests at once.
    pub burst: NonZeroU32,
    /// How long a used-up burst takes to replenish.
    pub window: Duration,
    /// The remaining burst capacity.
    pub remaining: u32,
}

impl RateState {
    /// Adds `RateLimit` and `RateLimit-Policy`.
    pub fn add_to(self, fields: &mut HeaderMap) {
        let window = self.window.as_secs().max(1);
        let policy = HeaderValue::try_from(format!("\"upstream\";q={};w={window}", self.burst));
        let state = HeaderValue::try_from(format!("\"upstream\";r={}", self.remaining));
        if let (Ok(policy), Ok(state)) = (policy, state) {
            fields.insert(RATE_LIMIT_POLICY, policy);
            fields.insert(RATE_LIMIT, state);
        }
    }
}

/// Whole seconds for `Retry-After`, at least one.
#[must_use]
pub fn retry_after(wait: Duration) -> HeaderValue {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        fields
    }

    #[test]
    fn only_the_allow_list_goes_upstream() {
        let request = fields(&[
            ("accept", "application/json"),
            ("traceparent", "00-1-2-01"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_tenant", "a"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-custom", "b"),
            ("user-agent", "curl"),
            ("if-none-match", "\"x\""),
            ("accept-encoding", "br"),
        ]);
        let listed = forwarded(&request, &ForwardedFields::Listed(Vec::new()));
        assert_eq!(listed, fields(&[("accept", "application/json"), ("traceparent", "00-1-2-01")]));
        let all = forwarded(&request, &ForwardedFields::All);
        assert_eq!(
            all,
            fields(&[
                ("accept", "application/json"),
                ("traceparent", "00-1-2-01"),
                ("x-custom", "b"),
                ("user-agent", "curl"),
            ])
        );
    }

    #[test]
    fn what_connection_names_is_dropped_in_both_directions() {
        let message = fields(&[
            ("connection", "close, Accept , x-a"),
            ("accept", "a"),
            ("x-a", "1"),
            ("etag", "\"e\""),
        ]);
        assert!(forwarded(&message, &ForwardedFields::All).get("accept").is_none());
        assert_eq!(sanitised(&message), fields(&[("etag", "\"e\"")]));
    }

    #[test]
    fn cookies_and_challenges_never_reach_a_client() {
        let response =
            fields(&[("set-cookie", "a=b"), ("www-authenticate", "Bearer"), ("content-type", "a/b")]);
        assert_eq!(sanitised(&response), fields(&[("content-type", "a/b")]));
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        assert_eq!(retry_after(Duration::from_millis(1001)), "2");
        assert_eq!(retry_after(Duration::ZERO), "1");
    }
}
