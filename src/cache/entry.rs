//! A cached response. All data that does not depend on the client is prepared in advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, LINK, LOCATION, PRAGMA,
};

use super::fields::StoredFields;
use super::page_set::PageSet;
use super::policy::StoreDecision;
use crate::clock::Now;
use crate::page::links::Splice;
use crate::page::{PageContent, PageSummary, TotalCounts};
use crate::rfc9111::freshness::{Freshness, date, initial_age};
use crate::rfc9111::key::Variant;
use crate::rfc9111::validation::weakened;

/// A response of the API.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The status code.
    pub status: StatusCode,
    /// The header fields: the origin's (without hop-by-hop fields), and those for clients.
    pub fields: StoredFields,
    /// Whether the fields contain one that carries links (`Link`, `Location`, `Content-Location`).
    pub has_links_in_fields: bool,
    /// The body, without content coding.
    pub body: Bytes,
    /// The positions of links to the API in the body.
    pub links: Vec<Splice>,
    /// The total counts that the body states.
    pub counts: TotalCounts,
    /// The page data of the body.
    pub page: PageSummary,
    /// The hashed ids of its records; taken when the entry is stored.
    pub(super) record_ids: Vec<u64>,
    /// How long the response may be used, and which rule decided.
    pub decision: StoreDecision,
    /// The request fields that select this response.
    pub variant: Variant,
    /// When it was requested.
    pub asked: Instant,
    /// When it was received.
    pub received: Instant,
    /// Its age when it was received (RFC 9111, section 4.2.3).
    initial_age: Duration,
    upstream_request_id: Option<Arc<str>>,
    /// The set of pages that it belongs to, if the rule's `ttl` decides its lifetime.
    set: Option<Arc<PageSet>>,
    /// The number of responses served from it, and from the entries that it replaced by validation.
    hits: Hits,
}

/// A shared counter. A clone continues at the current value.
#[derive(Debug, Default)]
struct Hits(AtomicU64);

impl Clone for Hits {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// The parts of an [`Entry`].
#[derive(Clone)]
pub struct EntryParts {
    /// The status code.
    pub status: StatusCode,
    /// The header fields, without hop-by-hop fields.
    pub fields: HeaderMap,
    /// The body, without content coding.
    pub body: Bytes,
    /// The result of inspecting the body.
    pub page_content: PageContent,
    /// How long the response may be used, and which rule decided.
    pub decision: StoreDecision,
    /// Whether the entry is stored; otherwise it is served to the waiting requests and dropped.
    pub stored: bool,
    /// The request fields that select this response.
    pub variant: Variant,
    /// When it was received.
    pub received: Now,
    /// The time from request to response.
    pub delay: Duration,
}

/// The field with Talkdesk's id of a request, for support tickets.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn upstream_request_id(fields: &HeaderMap) -> Option<Arc<str>> {
    let id = fields.get(UPSTREAM_REQUEST_ID)?.to_str().ok()?;
    Some(crate::oauth::grant::printable(id).into())
}

/// The fields that carry links.
pub const LINK_FIELDS: [HeaderName; 3] = [LINK, LOCATION, CONTENT_LOCATION];

impl Entry {
    /// Builds an entry and prepares the fields for clients.
    #[must_use]
    pub fn new(parts: EntryParts) -> Self {
        let EntryParts {
            status,
            fields,
            body,
            page_content: PageContent { links, counts, page, record_ids },
            decision,
            stored,
            variant,
            received,
            delay,
        } = parts;
        let passes = |name: &HeaderName| {
            *name != UPSTREAM_REQUEST_ID
                && *name != CONTENT_LENGTH
                && (links.is_empty() || !is_digest(name))
                && !(decision.overrides_origin && [EXPIRES, PRAGMA].contains(name))
        };
        let mut added = Vec::with_capacity(2);
        if decision.overrides_origin {
            added.push((CACHE_CONTROL, HeaderValue::from_static("private, no-cache")));
        }
        let etag = match fields.get(&ETAG) {
            Some(etag) if !links.is_empty() => Some(weakened(etag)),
            // If the origin sent several tags, clients get the first: preconditions are compared with that
            // one.
            Some(etag) => (fields.get_all(&ETAG).iter().count() > 1).then(|| etag.clone()),
            None => (status == StatusCode::OK).then(|| own_etag(&body, &links)),
        };
        added.extend(etag.map(|etag| (ETAG, etag)));
        Self {
            status,
            has_links_in_fields: LINK_FIELDS.iter().any(|name| fields.contains_key(name)),
            fields: StoredFields::new(&fields, passes, &added, stored),
            body,
            links,
            counts,
            page,
            record_ids,
            decision,
            variant,
            asked: received.monotonic.checked_sub(delay).unwrap_or(received.monotonic),
            received: received.monotonic,
            initial_age: initial_age(&fields, received.wall, delay),
            upstream_request_id: upstream_request_id(&fields),
            set: None,
            hits: Hits::default(),
        }
    }

    /// The entity tag for clients: the origin's, or one that the proxy made. It is weak if links in the body
    /// are rewritten, because the bytes then differ between clients.
    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.fields.client(&ETAG)
    }

    /// Talkdesk's id of the upstream request.
    #[must_use]
    pub fn upstream_request_id(&self) -> Option<&Arc<str>> {
        self.upstream_request_id.as_ref()
    }

    /// Makes it a page of a set, with the set's lifetime.
    pub(super) fn join(&mut self, set: Arc<PageSet>, lifetime: Duration) {
        self.decision.freshness.lifetime = lifetime;
        self.set = Some(set);
    }

    /// Continues the hit count of the entry that a 304 confirmed.
    pub fn continue_hits_of(&mut self, confirmed: &Self) {
        self.hits = confirmed.hits.clone();
    }

    /// A copy that is stale from now on.
    #[must_use]
    pub(super) fn staled(&self, now: Now) -> Self {
        let mut stale = self.clone();
        let lifetime = &mut stale.decision.freshness.lifetime;
        *lifetime = self.counted_age(now).min(*lifetime);
        stale
    }

    /// The set of pages that it belongs to, if the rule's `ttl` decides its lifetime.
    #[must_use]
    pub fn set(&self) -> Option<&Arc<PageSet>> {
        self.set.as_ref()
    }

    /// Whether it must not be used any more because its set was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_dropped())
    }

    /// Whether this entry is selected before `other` if both match a request and `other` arrived later. A
    /// variant with `Vary` fields precedes one without (RFC 9111, section 4.1); otherwise the later `Date`
    /// wins (section 4).
    #[must_use]
    pub(super) fn goes_before(&self, other: &Self) -> bool {
        match (self.variant.is_any(), other.variant.is_any()) {
            (false, true) => true,
            (true, false) => false,
            _ => self.date() > other.date(),
        }
    }

    fn date(&self) -> Option<SystemTime> {
        self.fields.origin(&DATE).and_then(date)
    }

    /// Counts a response that was served from it.
    pub fn hit(&self) {
        self.hits.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of responses served from it.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.0.load(Ordering::Relaxed)
    }

    /// The age of the response (RFC 9111, section 4.2.3).
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// The age that is compared with the freshness lifetime. The rule's `ttl` counts from arrival, because
    /// the origin's clock may be wrong.
    #[must_use]
    pub fn counted_age(&self, now: Now) -> Duration {
        if self.decision.by_ttl { now.since(self.received) } else { self.age(now) }
    }

    /// The remaining freshness in whole seconds; negative once it is stale.
    #[must_use]
    pub fn remaining(&self, now: Now) -> i64 {
        let (lifetime, age) = (self.decision.freshness.lifetime.as_secs(), self.counted_age(now).as_secs());
        i64::try_from(lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(age)
    }

    /// Whether it may be served if a fresh response can't be obtained.
    #[must_use]
    pub fn serves_on_error(&self, now: Now) -> bool {
        !self.decision.freshness.never_stale
            && self.counted_age(now)
                < self.decision.freshness.lifetime.saturating_add(self.decision.freshness.stale_if_error)
    }

    /// Whether it may be served while it is revalidated. Not if its set has several pages: a client that
    /// follows the pages would get old and new ones.
    #[must_use]
    pub fn serves_while_revalidating(&self, now: Now) -> bool {
        let limit =
            self.decision.freshness.lifetime.saturating_add(self.decision.freshness.stale_while_revalidate);
        !self.decision.freshness.never_stale
            && !self.decision.freshness.always_validate
            && !self.set.as_ref().is_some_and(|set| set.has_several())
            && self.counted_age(now) < limit
    }

    /// How much longer it can be used, as of `instant`. None if there is no limit: the origin can validate
    /// it, or it may be served stale on the client's request (`max-stale`).
    #[must_use]
    pub fn useful_for(&self, instant: Instant) -> Option<Duration> {
        let Freshness { lifetime, stale_while_revalidate, stale_if_error, never_stale, .. } =
            self.decision.freshness;
        if self.can_be_validated() || !(self.decision.overrides_origin || never_stale) {
            return None;
        }
        let before = if self.decision.by_ttl { Duration::ZERO } else { self.initial_age };
        let age = before.saturating_add(instant.saturating_duration_since(self.received));
        Some(lifetime.saturating_add(stale_while_revalidate.max(stale_if_error)).saturating_sub(age))
    }

    /// Whether it has a validator.
    #[must_use]
    pub fn can_be_validated(&self) -> bool {
        [ETAG, LAST_MODIFIED].iter().any(|name| self.fields.origin(name).is_some())
    }

    /// The memory use in bytes: the entry and its share of its page set, without the bookkeeping of its
    /// slot.
    #[must_use]
    pub fn weight(&self) -> usize {
        let own = size_of::<Self>() + ALLOCATION + self.body.len() + 2 * ALLOCATION;
        own + self.links.len() * size_of::<Splice>()
            + self.fields.weight(ALLOCATION)
            + self.variant.length()
            + self.set.as_ref().map_or(0, |set| set.share())
    }
}

/// The overhead of one allocation, including a reference count.
const ALLOCATION: usize = 32;

/// An entity tag made from the body, for a response without one.
fn own_etag(body: &Bytes, links: &[Splice]) -> HeaderValue {
    let hash = URL_SAFE_NO_PAD.encode(&digest(&SHA256, body).as_ref()[..15]);
    let weak = if links.is_empty() { "" } else { "W/" };
    HeaderValue::try_from(format!("{weak}\"{hash}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Removes the fields that describe the origin's exact bytes (digests, `Accept-Ranges`). They are wrong for a
/// body that is changed on its way to the client.
pub fn drop_digests(fields: &mut HeaderMap) {
    for name in DIGESTS {
        fields.remove(name);
    }
}

const DIGESTS: [&str; 5] = ["digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"];

fn is_digest(name: &HeaderName) -> bool {
    DIGESTS.contains(&name.as_str())
}

impl Entry {
    /// The date that a client's `If-Modified-Since` is compared with: `Last-Modified`, or `Date` if there is
    /// none (RFC 9111, section 4.3.2).
    #[must_use]
    pub fn modified(&self) -> Option<&HeaderValue> {
        self.fields.origin(&LAST_MODIFIED).or_else(|| self.fields.origin(&DATE))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::clock::Clock;

    #[rstest]
    #[case::strong(&[], "\"one\"")]
    #[case::with_links(&[Splice { start: 0, length: 1 }], "W/\"one\"")]
    fn clients_get_one_entity_tag_though_the_origin_sends_two(#[case] links: &[Splice], #[case] tag: &str) {
        let mut fields = HeaderMap::new();
        for value in ["\"one\"", "\"two\""] {
            fields.append(ETAG, HeaderValue::from_static(value));
        }
        let entry = Entry::new(parts(fields, links));
        let given = entry.fields.for_clients(HeaderValue::from_static("0"));
        assert_eq!(given.get_all(ETAG).iter().collect::<Vec<_>>(), [tag]);
        assert_eq!(entry.etag(), given.get(ETAG));
        assert_eq!(entry.fields.of_origin().get_all(ETAG).iter().count(), 2);
    }

    fn parts(fields: HeaderMap, links: &[Splice]) -> EntryParts {
        EntryParts {
            status: StatusCode::OK,
            variant: Variant::of(&fields, &fields),
            fields,
            body: Bytes::from_static(b"body"),
            page_content: PageContent { links: links.to_vec(), ..PageContent::default() },
            decision: StoreDecision::NOT_STORED,
            stored: true,
            received: Clock::System.now(),
            delay: Duration::ZERO,
        }
    }

    #[rstest]
    #[case::strong(&[])]
    #[case::with_links(&[Splice { start: 0, length: 1 }])]
    fn an_entry_does_not_hold_on_to_the_head_that_its_fields_came_in(#[case] links: &[Splice]) {
        let head = Bytes::from(format!("\"tag\" text/plain req-1 {}", "x".repeat(8192)));
        let value = |range| HeaderValue::from_maybe_shared(head.slice(range)).expect("a value");
        let mut fields = HeaderMap::new();
        for (name, range) in
            [("etag", 0..5), ("content-type", 6..16), ("x-request-id", 17..22), ("vary", 17..20)]
        {
            fields.insert(name, value(range));
        }
        let entry = Entry::new(parts(fields, links));
        assert!(entry.etag().is_some_and(|etag| etag.as_bytes().ends_with(b"\"tag\"")));
        assert!(head.is_unique(), "nobody else holds it");
    }
}
