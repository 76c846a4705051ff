//! Header fields: which are forwarded in each direction, and which the proxy adds
//! (RFC 9110, section 7.6; RFC 9209; RFC 9211; draft-ietf-httpapi-ratelimit-headers).

use std::num::NonZeroU32;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ALT_SVC, CONNECTION, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, InvalidHeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};

use crate::cache::lookup::Forward;
use crate::config::forwarding::is_forbidden;
use crate::domain::endpoint::ForwardedFields;
use crate::prepared_head::{CACHE_STATUS, X_TENANT};

/// The proxy's name in `Via`, `Cache-Status` and `Proxy-Status`.
pub const NAME: &str = "billing-insights-proxy";

/// `Via` of an answer of the proxy's own.
pub const OWN_VIA: &str = "1.1 billing-insights-proxy";
/// What went wrong between here and upstream (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// What is left of the limit.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What the limit is.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What every endpoint lets through.
const ALWAYS_FORWARDED: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, TRACEPARENT, TRACESTATE];

/// Whether a field names the connection, and not the message (RFC 9110, section 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The client's fields that go upstream: those of the allow-list, without what `Connection` names. Where nothing is
/// cached (`for_origin`) the conditions are the client's own, and dropping one would make a careful request a careless
/// one.
#[must_use]
pub fn forwarded(request: &HeaderMap, allowed: &ForwardedFields, for_origin: bool) -> HeaderMap {
    let of_connection = named_by_connection(request);
    let passes = |name: &HeaderName| {
        let may_pass = || match allowed {
            ForwardedFields::Listed(listed) => listed.contains(name) && !is_forbidden(name),
            ForwardedFields::All => !is_forbidden(name),
        };
        let condition = for_origin && CONDITIONS.contains(name);
        (ALWAYS_FORWARDED.contains(name) || condition || may_pass()) && !of_connection.contains(name)
    };
    copy(request, passes)
}

/// The conditions that only the origin may judge (RFC 9110, section 13.1; RFC 9111, section 4.3.2), and for methods
/// that are not cached the others as well.
const CONDITIONS: [HeaderName; 4] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// Whether a request has a condition that only the origin may judge.
#[must_use]
pub fn has_condition_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// The fields of an answer, without those of the connection, those that no client may have, and those that are the
/// proxy's own to say.
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

/// How many fields the proxy adds to what it passes on.
const ADDED: usize = 4;

fn copy(fields: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    // With room for what the proxy adds.
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

/// The members of `Cache-Status` (RFC 9211, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStatus {
    /// Answered from the cache.
    pub hit: bool,
    /// Why the request went upstream.
    pub forward: Option<Forward>,
    /// What upstream answered.
    pub forward_status: Option<u16>,
    /// The answer was stored.
    pub stored: bool,
    /// Another request's fetch answered.
    pub collapsed: bool,
    /// Seconds that the answer stays fresh; negative if it is stale.
    pub ttl: Option<i64>,
    /// The name of a reason.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// The field's value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let mut value = Value::default();
        value.add(NAME);
        if self.hit {
            value.add("; hit");
        }
        if let Some(forward) = self.forward {
            value.add("; fwd=").add(forward.as_str());
        }
        if let Some(status) = self.forward_status {
            value.add("; fwd-status=").add(itoa::Buffer::new().format(status));
        }
        if let Some(ttl) = self.ttl {
            value.add("; ttl=").add(itoa::Buffer::new().format(ttl));
        }
        if self.stored {
            value.add("; stored");
        }
        if self.collapsed {
            value.add("; collapsed");
        }
        if let Some(detail) = self.detail {
            value.add("; detail=").add(detail);
        }
        value.field().unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }
}

/// A short value that is put together: on the stack, so that it takes one allocation, of its own length. What would be
/// longer is cut off.
struct Value {
    bytes: [u8; LONGEST_VALUE],
    length: usize,
}

/// Longer than any that the proxy puts together.
const LONGEST_VALUE: usize = 192;

impl Default for Value {
    fn default() -> Self {
        Self { bytes: [0; LONGEST_VALUE], length: 0 }
    }
}

impl Value {
    fn add(&mut self, text: &str) -> &mut Self {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        self
    }

    fn field(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        HeaderValue::from_bytes(&self.bytes[..self.length])
    }
}

/// The value of `Proxy-Status` for an error.
#[must_use]
pub fn proxy_status(error: &str, code: &str) -> HeaderValue {
    HeaderValue::try_from(format!("{NAME}; error={error}; details=\"{code}\""))
        .unwrap_or_else(|_| HeaderValue::from_static(NAME))
}

/// How a credential stands towards its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// Requests that may come at once.
    pub burst: NonZeroU32,
    /// The time in which a used up burst fills again.
    pub window: Duration,
    /// What is left of the burst.
    pub remaining: u32,
}

impl RateState {
    /// Adds `RateLimit` and `RateLimit-Policy`.
    pub fn add_to(self, fields: &mut HeaderMap) {
        let (mut policy, mut state) = (Value::default(), Value::default());
        policy.add("\"upstream\";q=").add(itoa::Buffer::new().format(self.burst.get()));
        policy.add(";w=").add(itoa::Buffer::new().format(self.window.as_secs().max(1)));
        state.add("\"upstream\";r=").add(itoa::Buffer::new().format(self.remaining));
        if let (Ok(policy), Ok(state)) = (policy.field(), state.field()) {
            fields.insert(RATE_LIMIT_POLICY, policy);
            fields.insert(RATE_LIMIT, state);
        }
    }
}

/// Whole seconds for `Retry-After`, never less than one.
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
        let listed = forwarded(&request, &ForwardedFields::Listed(Vec::new()), false);
        assert_eq!(listed, fields(&[("accept", "application/json"), ("traceparent", "00-1-2-01")]));
        let all = forwarded(&request, &ForwardedFields::All, false);
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
        assert!(forwarded(&message, &ForwardedFields::All, false).get("accept").is_none());
        assert_eq!(sanitised(&message), fields(&[("etag", "\"e\"")]));
    }

    #[test]
    fn cookies_and_challenges_never_reach_a_client() {
        let response =
            fields(&[("set-cookie", "a=b"), ("www-authenticate", "Bearer"), ("content-type", "a/b")]);
        assert_eq!(sanitised(&response), fields(&[("content-type", "a/b")]));
    }

    #[test]
    fn cache_status_is_a_structured_field() {
        let status = CacheStatus {
            forward: Some(Forward::UriMiss),
            forward_status: Some(200),
            stored: true,
            ttl: Some(3600),
            ..CacheStatus::default()
        };
        let value = status.value();
        assert_eq!(value, "billing-insights-proxy; fwd=uri-miss; fwd-status=200; ttl=3600; stored");
        let parsed: Result<sfv::List, _> = sfv::Parser::new(value.as_bytes()).parse();
        assert!(parsed.is_ok());
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        assert_eq!(retry_after(Duration::from_millis(1001)), "2");
        assert_eq!(retry_after(Duration::ZERO), "1");
    }
}
