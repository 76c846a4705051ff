//! The status and header fields of an upstream response, adjusted for storing.

use http::StatusCode;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER, VARY};

use crate::clock::Now;
use crate::headers::{self, add_via, sanitised};
use crate::oauth::grant::retry_after;
use crate::upstream::exchange::Exchange;
use crate::upstream::origin::UpstreamResponse;

/// The head of a response, and what is known about its exchange.
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) sent_at: Now,
    pub(super) received: Now,
    pub(super) exchange: Exchange,
}

impl ResponseHead {
    /// The head as it may be stored and passed on.
    pub(super) fn new(answer: &UpstreamResponse, received: Now) -> Self {
        let status = answer.response.status();
        let mut fields = sanitised(answer.response.headers());
        add_via(&mut fields, answer.response.version());
        add_date(&mut fields, received);
        replace_retry_after(&mut fields, status, received);
        Self { status, fields, sent_at: answer.sent_at, received, exchange: answer.exchange }
    }
}

/// Why a status can't answer the request. A proxy's challenge is among them: it would ask callers for credentials, as a 401
/// would.
pub(super) fn unexpected_status(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::NOT_MODIFIED => Some("it is a 304 to a request without conditions"),
        StatusCode::PARTIAL_CONTENT => Some("it is a part, and the whole was asked for"),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some("it is a 407, and no proxy was asked"),
        _ if status.is_informational() => Some("it switches to a protocol that was not asked for"),
        _ => None,
    }
}

/// A response without a date was made when it arrived (RFC 9110, section 6.6.1).
fn add_date(fields: &mut HeaderMap, received: Now) {
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(received.wall))
    {
        fields.insert(DATE, date);
    }
}

/// Clients get seconds, never a date, and only with an error: a success has no time to wait for.
fn replace_retry_after(fields: &mut HeaderMap, status: StatusCode, now: Now) {
    let wait = fields.remove(RETRY_AFTER).and_then(|value| retry_after(&value, now.wall));
    if let Some(wait) = wait.filter(|_| !status.is_success()) {
        fields.insert(RETRY_AFTER, headers::retry_after(wait));
    }
}

/// Whether the fields say that the body is JSON.
pub(super) fn says_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json") || kind.to_ascii_lowercase().ends_with(b"+json")
}

/// Takes `Accept-Encoding` and `Authorization` out of `Vary`: the proxy has settled both.
pub(super) fn drop_from_vary(fields: &mut HeaderMap) {
    let kept: Vec<String> = fields
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .filter(|name| {
            !name.eq_ignore_ascii_case("accept-encoding") && !name.eq_ignore_ascii_case("authorization")
        })
        .collect();
    fields.remove(VARY);
    if let Ok(value) = HeaderValue::try_from(kept.join(", "))
        && !kept.is_empty()
    {
        fields.insert(VARY, value);
    }
}

/// A status that denies access to what is stored, or says that it does not exist any more.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE)
}
