//! Decides whether a response may be stored, and for how long: by the endpoint's rule, and by RFC 9111 for
//! what the rule leaves open.
//!
//! The caching fields that the origin sends on the five documented endpoints are not known and may prohibit
//! caching completely, so a rule of the proxy can override them, directive by directive. A plain rule is RFC
//! 9111 only.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{EXPIRES, HeaderMap, HeaderName, PRAGMA, VARY, VIA};
use http::{Method, StatusCode};

use crate::clock::Now;
use crate::config::{OriginDirective, OurRule, Overrides, Rule};
use crate::rfc9111::directives::{Qualified, ResponseDirectives};
use crate::rfc9111::freshness::{Freshness, NotStored, RequestSaid, Response, freshness, may_store};

/// Why a response was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// RFC 9111 does not permit it.
    Rfc(NotStored),
    /// The rule's `ttl` is zero.
    TtlZero,
    /// The rule does not list the status.
    StatusNotListed,
    /// The body is larger than `cache.max_entry_bytes`.
    TooLarge,
    /// It was requested before a purge that covers it.
    Purged,
    /// It was requested before a newer response, a newer sibling page or a change of the URL.
    Superseded,
    /// A success without `_embedded` and without links: not a page of a list.
    NotAPage,
}

/// How long a response may be used, and which rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The freshness.
    pub freshness: Freshness,
    /// Whether the proxy's rule had a part in it: the origin's `Cache-Control` does not apply any more then.
    pub ours: bool,
    /// Whether the lifetime counts from arrival (the rule's `ttl`) instead of from the origin's `Date`.
    pub from_arrival: bool,
}

impl Verdict {
    /// The verdict on a response that is not stored: only the requests that wait for it may use it.
    pub const NOT_KEPT: Self = Self {
        freshness: Freshness {
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: true,
            never_stale: true,
        },
        ours: false,
        from_arrival: false,
    };
}

impl Bypass {
    /// The reason's name in metrics and `Cache-Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rfc(NotStored::Method) => "method",
            Self::Rfc(NotStored::Status) => "status",
            Self::Rfc(NotStored::Partial) => "partial",
            Self::Rfc(NotStored::NoStore) => "no_store",
            Self::Rfc(NotStored::Private) => "private",
            Self::Rfc(NotStored::Authorization) => "authorization",
            Self::Rfc(NotStored::RequestNoStore) => "request_no_store",
            Self::Rfc(NotStored::VaryAny) => "vary_any",
            Self::Rfc(NotStored::NoFreshness) => "no_freshness",
            Self::TtlZero => "ttl_zero",
            Self::StatusNotListed => "status_not_listed",
            Self::TooLarge => "too_large",
            Self::Purged => "purged",
            Self::Superseded => "superseded",
            Self::NotAPage => "not_a_page",
        }
    }
}

/// The request of a response.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method of the upstream request.
    pub method: &'a Method,
    /// What the request says about storing. Only a plain rule considers it.
    pub said: RequestSaid,
}

/// Decides about a response.
///
/// # Errors
/// [`Bypass`] if it may not be stored.
pub fn judge(
    rule: &Rule,
    question: &Question<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    received: Now,
) -> Result<Verdict, Bypass> {
    let directives = ResponseDirectives::read(fields);
    match rule {
        Rule::Plain => {
            let response = Response {
                method: question.method,
                status,
                fields,
                directives: &directives,
                request: &question.said,
                received: received.wall,
            };
            may_store(&response).map_err(Bypass::Rfc)?;
            Ok(Verdict { freshness: freshness(&response), ours: false, from_arrival: false })
        }
        Rule::Ours(ours) => by_our_rule(ours, question.method, status, fields, directives, received),
    }
}

/// The fields that must not be stored with a response (`private="…"`), or must not be reused without
/// validation (`no-cache="…"`). Both are treated alike: only the requester that caused the upstream request
/// gets these fields, and no response from the cache has them (RFC 9111, sections 5.2.2.4 and 5.2.2.7). `Via`
/// is never withheld: an intermediary must send it, and it also names this proxy.
#[must_use]
pub fn withheld(rule: &Rule, fields: &HeaderMap) -> Vec<HeaderName> {
    let origin = ResponseDirectives::read(fields);
    let directives = match rule {
        Rule::Plain => origin,
        Rule::Ours(ours) => left_to_the_origin(ours, origin, fields).0,
    };
    let mut names = Vec::new();
    for directive in [directives.private, directives.no_cache] {
        if let Some(Qualified::Fields(named)) = directive {
            names.extend(named.into_iter().filter(|name| *name != VIA && fields.contains_key(name)));
        }
    }
    names
}

fn by_our_rule(
    rule: &OurRule,
    method: &Method,
    status: StatusCode,
    fields: &HeaderMap,
    origin: ResponseDirectives,
    received: Now,
) -> Result<Verdict, Bypass> {
    if !rule.statuses.contains(&status) {
        return Err(Bypass::StatusNotListed);
    }
    if rule.ttl == Some(Duration::ZERO) {
        return Err(Bypass::TtlZero);
    }
    let (directives, fields) = left_to_the_origin(rule, origin, fields);
    let response = Response {
        method,
        status,
        fields: &fields,
        directives: &directives,
        request: &RequestSaid::default(),
        received: received.wall,
    };
    may_store(&response).map_err(Bypass::Rfc)?;
    let origin_decides = directives.s_maxage.is_some()
        || directives.max_age.is_some()
        || fields.contains_key(EXPIRES)
        || rule.ttl.is_none();
    let mut freshness = freshness(&response);
    if !origin_decides {
        freshness.lifetime = rule.ttl.unwrap_or_default();
    }
    if !freshness.never_stale {
        let origins = (directives.stale_while_revalidate, directives.stale_if_error);
        let origins = if rule.overrides == Overrides::All { (None, None) } else { origins };
        freshness.stale_while_revalidate = origins.0.unwrap_or(rule.stale_while_revalidate);
        freshness.stale_if_error = origins.1.unwrap_or(rule.stale_if_error);
    }
    let ours = !origin_decides || rule.overrides != Overrides::Listed(Vec::new());
    Ok(Verdict { freshness, ours, from_arrival: !origin_decides })
}

/// The origin's directives and fields, without those that the rule overrides.
fn left_to_the_origin<'a>(
    rule: &OurRule,
    mut directives: ResponseDirectives,
    fields: &'a HeaderMap,
) -> (ResponseDirectives, Cow<'a, HeaderMap>) {
    let mut fields = Cow::Borrowed(fields);
    for directive in rule.overrides.directives() {
        match directive {
            OriginDirective::NoStore => directives.no_store = false,
            OriginDirective::NoCache => directives.no_cache = None,
            OriginDirective::Private => directives.private = None,
            OriginDirective::MustRevalidate => directives.must_revalidate = false,
            OriginDirective::ProxyRevalidate => directives.proxy_revalidate = false,
            OriginDirective::MaxAge => directives.max_age = None,
            OriginDirective::SMaxage => directives.s_maxage = None,
            OriginDirective::Expires => drop(fields.to_mut().remove(EXPIRES)),
            OriginDirective::Pragma => drop(fields.to_mut().remove(PRAGMA)),
            OriginDirective::VaryAny => {
                if crate::rfc9111::freshness::vary_any(&fields) {
                    fields.to_mut().remove(VARY);
                }
            }
        }
    }
    (directives, fields)
}

impl Overrides {
    /// The origin's directives that the rule overrides.
    #[must_use]
    pub fn directives(&self) -> &[OriginDirective] {
        match self {
            Self::All => &OriginDirective::ALL,
            Self::Listed(listed) => listed,
        }
    }
}

impl OriginDirective {
    /// All directives that can be overridden.
    pub const ALL: [Self; 10] = [
        Self::NoStore,
        Self::NoCache,
        Self::Private,
        Self::MustRevalidate,
        Self::ProxyRevalidate,
        Self::MaxAge,
        Self::SMaxage,
        Self::Expires,
        Self::Pragma,
        Self::VaryAny,
    ];
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
