//! Interprets the status and header fields of an upstream response, and adjusts the fields before the response is stored.

use http::StatusCode;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER, VARY};

use crate::clock::Now;
use crate::oauth::grant::retry_after;

/// Why a status answers nothing that was asked. A challenge of a proxy is among them: it would ask callers for
/// credentials, as a 401 would.
pub(super) fn unexpected_status(status: StatusCode, plain: bool, for_origin: bool) -> Option<&'static str> {
    match status {
        // The conditions were the client's own.
        StatusCode::NOT_MODIFIED if for_origin => None,
        // A part may be what the client asked for, and is its own to judge.
        StatusCode::PARTIAL_CONTENT if plain => None,
        StatusCode::NOT_MODIFIED => Some("it is a 304 to a request without conditions"),
        StatusCode::PARTIAL_CONTENT => Some("it is a part, and the whole was asked for"),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some("it is a 407, and no proxy was asked"),
        _ if status.is_informational() => Some("it switches to a protocol that was not asked for"),
        _ => None,
    }
}

/// An answer without a date was made when it arrived (RFC 9110, section 6.6.1).
pub(super) fn add_date(fields: &mut HeaderMap, received: Now) {
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(received.wall))
    {
        fields.insert(DATE, date);
    }
}

/// Clients are told seconds, never a date, and only with an error: what is stored has no time to wait for.
pub(super) fn in_seconds(fields: &mut HeaderMap, status: StatusCode, now: Now) {
    let told = fields.remove(RETRY_AFTER).and_then(|value| retry_after(&value, now.wall));
    if let Some(told) = told
        && !status.is_success()
    {
        fields.insert(RETRY_AFTER, super::headers::retry_after(told));
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
