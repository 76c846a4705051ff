//! May an answer be kept, and for how long: the endpoint's rule, and RFC 9111 for what it leaves open.
//!
//! On the five endpoints the origin's caching fields are not known and may forbid caching altogether, so our
//! rule can take their place, directive by directive. A plain rule is RFC 9111 alone.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{EXPIRES, HeaderMap, HeaderName, PRAGMA, VARY, VIA};
use http::{Method, StatusCode};

use crate::clock::Now;
use crate::config::{OriginDirective, OurRule, Overrides, Rule};
use crate::rfc9111::directives::{Qualified, ResponseDirectives};
use crate::rfc9111::freshness::{Freshness, NotStored, RequestSaid, Response, freshness, may_store};

/// Why an answer was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// RFC 9111 does not let it be.
    Rfc(NotStored),
    /// The rule's `ttl` is zero.
    TtlZero,
    /// The rule does not list its status.
    StatusNotListed,
    /// It is larger than `cache.max_entry_bytes`.
    TooLarge,
    /// It was asked for before a purge that takes it.
    Purged,
    /// It was asked for before what is known by now of it or of its sibling pages.
    Superseded,
    /// It is a success without `_embedded` and without links: no page of a list.
    NotAPage,
}

/// For how long an answer may be used, and who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For how long.
    pub freshness: Freshness,
    /// Whether our rule had a part in it, so that the origin's `Cache-Control` is not true any more.
    pub ours: bool,
    /// Whether the lifetime counts from arrival (our `ttl`), and not by the origin's clock.
    pub from_arrival: bool,
}

impl Verdict {
    /// Of an answer that is not kept: it is of use to nobody but those who wait for it.
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
    /// The reason's name, in metrics and `Cache-Status`.
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

/// The request that an answer is to.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method that went upstream.
    pub method: &'a Method,
    /// What it says about storing. Only a plain rule heeds it.
    pub said: RequestSaid,
}

/// Decides about an answer.
///
/// # Errors
/// [`Bypass`] where it may not be kept.
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

/// The fields of an answer that may not be kept with it (`private="…"`), or not be used again without validation
/// (`no-cache="…"`), which here comes to the same: they are given to the one whose request brought them, and to nobody
/// from the cache (sections 5.2.2.4 and 5.2.2.7). `Via` is among them never: what passed through here says so, and in that
/// field this proxy stands as well.
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

/// What of the origin's statements the rule does not take the place of.
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
    /// The directives that give way.
    #[must_use]
    pub fn directives(&self) -> &[OriginDirective] {
        match self {
            Self::All => &OriginDirective::ALL,
            Self::Listed(listed) => listed,
        }
    }
}

impl OriginDirective {
    /// All of them.
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
