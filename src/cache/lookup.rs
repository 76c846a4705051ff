//! Decides how a stored response may be used for a request (RFC 9111, section 4; RFC 5861).

use std::sync::Arc;

use crate::cache::{Entry, Shelved};
use crate::clock::Now;
use crate::config::Rule;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::satisfies;

/// How a stored response may be used.
#[derive(Clone, Debug)]
pub enum Reuse {
    /// It may be served without validation.
    Fresh(Arc<Entry>),
    /// It is stale: serve it, and revalidate it in the background.
    WhileRevalidating(Arc<Entry>),
    /// It must be validated first. On an error it may still be served if its freshness permits.
    Validate(Arc<Entry>, Forward),
    /// No stored response can be used.
    Nothing(Forward),
}

/// Why a request goes upstream: the `fwd` parameter of `Cache-Status` (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored for the URL.
    UriMiss,
    /// The responses stored for the URL do not match the request's `Vary` fields.
    VaryMiss,
    /// The stored response is stale.
    Stale,
    /// The request's directives do not permit the stored response.
    Request,
    /// The cache is not used for this request.
    Bypass,
    /// No stored response can answer this method.
    Method,
}

impl Forward {
    /// The token of RFC 9211.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Bypass => "bypass",
            Self::Method => "method",
        }
    }
}

/// Decides by the endpoint's rule and by the request's directives.
#[must_use]
pub fn judge(shelved: Shelved, request: &RequestDirectives, rule: &Rule, now: Now) -> Reuse {
    let entry = match shelved {
        Shelved::Entry(entry) => entry,
        Shelved::OtherVariants => return Reuse::Nothing(Forward::VaryMiss),
        Shelved::Nothing => return Reuse::Nothing(Forward::UriMiss),
    };
    let age = entry.counted_age(now);
    let fresh = age < entry.verdict.freshness.lifetime && !entry.verdict.freshness.always_validate;
    if let Rule::Ours(rule) = rule
        && fresh
        && now.since(entry.received) < rule.min_refresh
    {
        // Within `min_refresh` the client's directives are ignored: otherwise one client's requests for fresh
        // responses would use up the rate limit that all clients share.
        return Reuse::Fresh(entry);
    }
    if satisfies(request, &entry.verdict.freshness, age) {
        return Reuse::Fresh(entry);
    }
    if fresh || request.no_cache {
        return Reuse::Validate(entry, Forward::Request);
    }
    let client_minds = request.max_age.is_some_and(|max_age| age > max_age) || request.min_fresh.is_some();
    if entry.serves_while_revalidating(now) && !client_minds {
        return Reuse::WhileRevalidating(entry);
    }
    Reuse::Validate(entry, Forward::Stale)
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
