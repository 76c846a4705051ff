//! The caching policy of one endpoint: whether a response may be stored, and for how long.
//!
//! RFC 9111 decides, and the endpoint's rule can override it: the caching fields that Talkdesk sends are not documented and
//! may prohibit caching completely. Without a rule, the origin decides. Everything that depends on the rule is a method of
//! [`CachePolicy`]; no other code distinguishes endpoints with and without one.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use http::header::{EXPIRES, HeaderMap, HeaderName, PRAGMA, VARY, VIA};

use crate::clock::Now;
use crate::config::{CacheRule, ClosedPeriod, OriginDirective, Overrides};
use crate::rfc9111::directives::{Qualified, ResponseDirectives};
use crate::rfc9111::freshness::{
    Freshness, NotStored, RequestSaid, Response, freshness, may_store, vary_any,
};

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
    /// It was requested before a newer response, a newer sibling page or a refusal.
    Superseded,
    /// A success without `_embedded` and without links: not a page of a list.
    NotAPage,
}

impl Bypass {
    /// The reason's name in metrics and `Cache-Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
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

/// How long a response may be used, and who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreDecision {
    /// The freshness.
    pub freshness: Freshness,
    /// Whether the rule overrides the origin, whose `Cache-Control` then does not reach clients.
    pub overrides_origin: bool,
    /// Whether the lifetime is the rule's `ttl`. It counts from arrival, because the origin's clock may be wrong.
    pub by_ttl: bool,
}

impl StoreDecision {
    /// For a response that is not stored: only the requests that wait for it may use it.
    pub const NOT_STORED: Self = Self {
        freshness: Freshness {
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: true,
            never_stale: true,
        },
        overrides_origin: false,
        by_ttl: false,
    };
}

/// The caching policy of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy(CacheRule);

impl CachePolicy {
    /// The policy of a configured rule.
    #[must_use]
    pub fn new(rule: CacheRule) -> Self {
        Self(rule)
    }

    /// Whether the origin alone decides, as RFC 9111 specifies.
    #[must_use]
    pub fn is_left_to_origin(&self) -> bool {
        self.0.ttl.is_none() && self.0.overrides.directives().is_empty()
    }

    /// The age below which a client's `no-cache` does not apply to an entry: otherwise one client that requests fresh
    /// responses would use up the rate limit that all clients share.
    #[must_use]
    pub fn min_refresh(&self) -> Duration {
        self.0.min_refresh
    }

    /// The rule for periods that have ended.
    #[must_use]
    pub fn closed_period(&self) -> Option<&ClosedPeriod> {
        self.0.closed_period.as_ref()
    }

    /// Whether the content must reach clients unchanged (`no-transform`, RFC 9111, section 5.2.2.6).
    #[must_use]
    pub fn forbids_rewriting(&self, fields: &HeaderMap) -> bool {
        self.is_left_to_origin() && ResponseDirectives::read(fields).no_transform
    }

    /// Whether clients that waited for one fetch may share a response that is not stored. Under RFC 9111, section 4, it is
    /// for one request only; a configured rule permits sharing, to protect the rate limit.
    #[must_use]
    pub fn shares_unstored(&self) -> bool {
        !self.is_left_to_origin()
    }

    /// Decides whether a response may be stored, and for how long. What the request says about storing applies only if the
    /// origin decides: one client must not prevent storage for all others.
    ///
    /// # Errors
    /// [`Bypass`] if it may not be stored.
    pub fn decide(
        &self,
        request: RequestSaid,
        status: StatusCode,
        fields: &HeaderMap,
        received: Now,
    ) -> Result<StoreDecision, Bypass> {
        if self.0.statuses.as_ref().is_some_and(|statuses| !statuses.contains(&status)) {
            return Err(Bypass::StatusNotListed);
        }
        if self.0.ttl == Some(Duration::ZERO) {
            return Err(Bypass::TtlZero);
        }
        let (directives, fields) = self.left_to_the_origin(fields);
        let response = Response {
            status,
            fields: &fields,
            directives: &directives,
            request: &if self.is_left_to_origin() { request } else { RequestSaid::default() },
            received: received.wall,
        };
        may_store(&response).map_err(Bypass::Rfc)?;
        let origin_has_lifetime =
            directives.s_maxage.is_some() || directives.max_age.is_some() || fields.contains_key(EXPIRES);
        let ttl = self.0.ttl.filter(|_| !origin_has_lifetime);
        let mut freshness = freshness(&response);
        freshness.lifetime = ttl.unwrap_or(freshness.lifetime);
        if !freshness.never_stale {
            let origins = (directives.stale_while_revalidate, directives.stale_if_error);
            let origins = if self.0.overrides == Overrides::All { (None, None) } else { origins };
            freshness.stale_while_revalidate = origins.0.unwrap_or(self.0.stale_while_revalidate);
            freshness.stale_if_error = origins.1.unwrap_or(self.0.stale_if_error);
        }
        Ok(StoreDecision {
            freshness,
            overrides_origin: ttl.is_some() || self.0.overrides != Overrides::default(),
            by_ttl: ttl.is_some(),
        })
    }

    /// The fields that must not be stored with a response (`private="…"`), or must not be reused without validation
    /// (`no-cache="…"`). Both are treated alike: only the requester that caused the upstream request gets these fields, and
    /// no response from the cache has them (RFC 9111, sections 5.2.2.4 and 5.2.2.7). `Via` is never withheld: an
    /// intermediary must send it, and it also names this proxy.
    #[must_use]
    pub fn withheld_fields(&self, fields: &HeaderMap) -> Vec<HeaderName> {
        let directives = self.left_to_the_origin(fields).0;
        let mut names = Vec::new();
        for directive in [directives.private, directives.no_cache] {
            if let Some(Qualified::Fields(named)) = directive {
                names.extend(named.into_iter().filter(|name| *name != VIA && fields.contains_key(name)));
            }
        }
        names
    }

    /// The origin's directives and fields, without those that the rule overrides.
    fn left_to_the_origin<'a>(&self, fields: &'a HeaderMap) -> (ResponseDirectives, Cow<'a, HeaderMap>) {
        let mut directives = ResponseDirectives::read(fields);
        let mut fields = Cow::Borrowed(fields);
        for directive in self.0.overrides.directives() {
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
                    if vary_any(&fields) {
                        fields.to_mut().remove(VARY);
                    }
                }
            }
        }
        (directives, fields)
    }
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
