//! Storing, freshness and age of responses (RFC 9111, sections 3, 4.2 and 5).

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{DATE, EXPIRES, HeaderMap, LAST_MODIFIED, VARY};

use super::directives::{Qualified, RequestDirectives, ResponseDirectives, age};

/// The freshness of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Freshness lifetime: the response is fresh until its age reaches this value.
    pub lifetime: Duration,
    /// How long after the lifetime the response may be served while it is revalidated (RFC 5861, section 3).
    pub stale_while_revalidate: Duration,
    /// How long after the lifetime the response may be served on an error (RFC 5861, section 4).
    pub stale_if_error: Duration,
    /// Must be validated before each use, even while fresh (`no-cache`, section 5.2.2.4).
    pub always_validate: bool,
    /// Must not be used stale (`no-cache`, `must-revalidate`, `proxy-revalidate`, `s-maxage`; sections 4.2.4
    /// and 5.2.2).
    pub never_stale: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The status is informational, 304, 412 or 416, or `must-understand` is set and the status is not
    /// understood.
    Status,
    /// 206: a partial response (section 3.3).
    Partial,
    /// The request had `no-store` (section 5.2.1.5).
    RequestNoStore,
    /// `no-store` (section 5.2.2.5).
    NoStore,
    /// `private` (section 5.2.2.7).
    Private,
    /// The request had `Authorization` and the response does not permit storing (section 3.5).
    Authorization,
    /// `Vary: *` (section 4.1): the response matches no other request.
    VaryAny,
    /// The response has no explicit freshness, and its status is not heuristically cacheable (section 3).
    NoFreshness,
}

/// The properties of a request that affect whether its response may be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestSaid {
    /// The request had `no-store`.
    pub no_store: bool,
    /// The client sent its own `Authorization`.
    pub authorization: bool,
}

/// A response, as [`may_store`] and [`freshness`] read it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub fields: &'a HeaderMap,
    /// `Cache-Control`, without the directives that a rule overrides.
    pub directives: &'a ResponseDirectives,
    /// The properties of the request.
    pub request: &'a RequestSaid,
    /// When the response was received.
    pub received: SystemTime,
}

/// Checks whether a shared cache may store the response to a `GET` (section 3).
///
/// # Errors
/// The first reason not to store it.
pub fn may_store(response: &Response<'_>) -> Result<(), NotStored> {
    let Response { status, fields, directives, .. } = *response;
    // `Content-Range` has no meaning with another status (RFC 9110, section 14.4).
    if status == StatusCode::PARTIAL_CONTENT {
        return Err(NotStored::Partial);
    }
    if response.request.no_store {
        return Err(NotStored::RequestNoStore);
    }
    // These statuses answer the preconditions or the range of one request, so they can't be reused for
    // another one, whatever freshness they declare.
    if status.is_informational()
        || matches!(
            status,
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
        )
    {
        return Err(NotStored::Status);
    }
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::Status);
    }
    // If the status is understood, `must-understand` overrides `no-store` (section 5.2.2.3).
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.private == Some(Qualified::Whole) {
        return Err(NotStored::Private);
    }
    if response.request.authorization
        && !(directives.public || directives.must_revalidate || directives.s_maxage.is_some())
    {
        return Err(NotStored::Authorization);
    }
    if vary_any(fields) {
        return Err(NotStored::VaryAny);
    }
    let explicit = directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || directives.public
        || fields.contains_key(EXPIRES);
    if explicit || is_heuristically_cacheable(status) { Ok(()) } else { Err(NotStored::NoFreshness) }
}

/// Whether `Vary` contains `*`.
#[must_use]
pub fn vary_any(fields: &HeaderMap) -> bool {
    let members =
        fields.get_all(VARY).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*")
}

/// The freshness lifetime of a response and its permitted stale use (section 4.2.1, RFC 5861).
#[must_use]
pub fn freshness(response: &Response<'_>) -> Freshness {
    let Response { directives, fields, .. } = *response;
    let lifetime =
        directives.s_maxage.or(directives.max_age).or_else(|| expires_lifetime(response)).unwrap_or_else(
            || {
                if is_heuristically_cacheable(response.status) || directives.public {
                    heuristic_lifetime(fields, response.received)
                } else {
                    Duration::ZERO
                }
            },
        );
    let always_validate = directives.no_cache == Some(Qualified::Whole);
    let never_stale = always_validate
        || directives.must_revalidate
        || directives.proxy_revalidate
        || directives.s_maxage.is_some();
    let stale =
        |allowed: Option<Duration>| if never_stale { Duration::ZERO } else { allowed.unwrap_or_default() };
    Freshness {
        lifetime,
        stale_while_revalidate: stale(directives.stale_while_revalidate),
        stale_if_error: stale(directives.stale_if_error),
        always_validate,
        never_stale,
    }
}

/// `Expires` minus `Date`. A malformed or repeated `Expires` is in the past (section 5.3).
fn expires_lifetime(response: &Response<'_>) -> Option<Duration> {
    let mut all = response.fields.get_all(EXPIRES).iter();
    let first = all.next()?;
    let expires = if all.next().is_some() { None } else { date(first) };
    let date = response.fields.get(DATE).and_then(date).unwrap_or(response.received);
    Some(expires.and_then(|expires| expires.duration_since(date).ok()).unwrap_or_default())
}

/// The heuristic lifetime: a tenth of the time since `Last-Modified` (section 4.2.2).
fn heuristic_lifetime(fields: &HeaderMap, received: SystemTime) -> Duration {
    let date_of_response = fields.get(DATE).and_then(date).unwrap_or(received);
    let modified = fields.get(LAST_MODIFIED).and_then(date);
    modified.and_then(|modified| date_of_response.duration_since(modified).ok()).unwrap_or_default() / 10
}

/// Parses an HTTP date in any of the three formats (RFC 9110, section 5.6.7). A cache matches day and month
/// names without regard to case and accepts GMT only (section 4.2).
#[must_use]
pub fn date(value: &http::HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&usual_case(text))).ok()
}

/// Normalises case: `sun, 06 nov 1994 08:49:37 gmt` becomes `Sun, 06 Nov 1994 08:49:37 GMT`.
fn usual_case(text: &str) -> String {
    let mut after_letter = false;
    let words = text.chars().map(|letter| {
        let usual = if after_letter { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        after_letter = letter.is_ascii_alphabetic();
        usual
    });
    words.collect::<String>().replace("Gmt", "GMT")
}

/// The age of a response at its arrival (section 4.2.3). `delay` is the time from request to response.
#[must_use]
pub fn initial_age(fields: &HeaderMap, received: SystemTime, delay: Duration) -> Duration {
    let apparent = fields
        .get(DATE)
        .and_then(date)
        .and_then(|date| received.duration_since(date).ok())
        .unwrap_or_default();
    let corrected = age(fields).unwrap_or_default().saturating_add(delay);
    apparent.max(corrected)
}

/// Whether a stored response satisfies the request directives and may be used without validation (sections
/// 4.2 and 5.2.1).
#[must_use]
pub fn satisfies(request: &RequestDirectives, stored: &Freshness, age: Duration) -> bool {
    if request.no_cache || stored.always_validate || request.max_age.is_some_and(|max_age| age > max_age) {
        return false;
    }
    let fresh_yet = stored.lifetime.saturating_sub(age);
    if age < stored.lifetime {
        return request.min_fresh.is_none_or(|min_fresh| fresh_yet >= min_fresh);
    }
    let staleness = age.saturating_sub(stored.lifetime);
    let accepts = request.max_stale.is_some_and(|max_stale| staleness <= max_stale);
    accepts && !stored.never_stale && request.min_fresh.is_none()
}

/// The final status codes of RFC 9110 whose caching requirements this cache implements (section 3:
/// "understood").
fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status)
        || matches!(
            status,
            StatusCode::CREATED
                | StatusCode::ACCEPTED
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::BAD_REQUEST
                | StatusCode::FORBIDDEN
        )
}

/// The heuristically cacheable statuses (RFC 9110, section 15.1).
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
