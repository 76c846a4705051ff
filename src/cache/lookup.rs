//! What the cache has for a request, and what may be done with it (RFC 9111, section 4; RFC 5861).

use std::sync::Arc;

use crate::cache::{Entry, Shelved};
use crate::clock::Now;
use crate::config::Rule;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::satisfies;

/// What may be done with what was found.
#[derive(Clone, Debug)]
pub enum Reuse {
    /// It answers.
    Fresh(Arc<Entry>),
    /// It answers, and a fresh one is fetched meanwhile.
    WhileRevalidating(Arc<Entry>),
    /// It has to be validated first. On an error it may still answer where it says so.
    Validate(Arc<Entry>, Forward),
    /// There is nothing to use.
    Nothing(Forward),
}

/// Why a request goes upstream: the `fwd` of `Cache-Status` (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored for the URL.
    UriMiss,
    /// What is stored for the URL does not answer this request.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// The client asks for a fresh one.
    Request,
    /// The cache is not used for it.
    Bypass,
    /// Nothing that is stored answers its method.
    Method,
}

impl Forward {
    /// The token that RFC 9211 has for it.
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

/// Judges what was found by the rule and by what the client accepts.
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
        // A client's wish for something fresher must not drain everybody's limit.
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
