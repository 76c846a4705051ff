//! Decides how a stored response may be used for a request (RFC 9111, section 4; RFC 5861).

use std::sync::Arc;

use super::entry::Entry;
use super::policy::CachePolicy;
use crate::clock::Now;
use crate::rfc9111::cache_status::Forward;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::satisfies;

/// What is stored for a request.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A matching response, fresh or stale.
    Entry(Arc<Entry>),
    /// Responses for the same URL that do not match this request (`Vary`).
    OtherVariants,
    /// Nothing is stored.
    Nothing,
}

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

/// Decides how a stored response may be used for a request with these directives.
#[must_use]
pub fn reuse(found: Lookup, request: &RequestDirectives, policy: &CachePolicy, now: Now) -> Reuse {
    let entry = match found {
        Lookup::Entry(entry) => entry,
        Lookup::OtherVariants => return Reuse::Nothing(Forward::VaryMiss),
        Lookup::Nothing => return Reuse::Nothing(Forward::UriMiss),
    };
    let freshness = entry.decision.freshness;
    let age = entry.counted_age(now);
    let fresh = age < freshness.lifetime && !freshness.always_validate;
    if fresh && now.since(entry.received) < policy.min_refresh() {
        return Reuse::Fresh(entry);
    }
    if satisfies(request, &freshness, age) {
        return Reuse::Fresh(entry);
    }
    if fresh || request.no_cache {
        return Reuse::Validate(entry, Forward::Request);
    }
    let demands_freshness =
        request.max_age.is_some_and(|max_age| age > max_age) || request.min_fresh.is_some();
    if entry.serves_while_revalidating(now) && !demands_freshness {
        return Reuse::WhileRevalidating(entry);
    }
    Reuse::Validate(entry, Forward::Stale)
}
