//! An answer as it stands on the shelf, with everything prepared that does not depend on who asks.

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
use super::judge::Verdict;
use super::page_set::PageSet;
use crate::clock::Now;
use crate::inspect::{Counts, Inspection, Page};
use crate::links::Splice;
use crate::rfc9111::freshness::{Freshness, date, initial_age};
use crate::rfc9111::key::Variant;
use crate::rfc9111::validation::weakened;

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The status.
    pub status: StatusCode,
    /// The fields as the origin sent them, less those of the connection, and those that every client gets.
    pub fields: StoredFields,
    /// Whether fields for clients have links in them.
    pub has_links_in_fields: bool,
    /// The body, decoded.
    pub body: Bytes,
    /// Whether it answered a `HEAD`, so that the fields speak of a body that is not here.
    pub is_head: bool,
    /// Where links to the API stand in it.
    pub links: Vec<Splice>,
    /// How much there is in all, as it says.
    pub counts: Counts,
    /// What is on it, where it is a page.
    pub page: Page,
    /// Its records by their hashed ids, until it is stored.
    pub(super) record_ids: Vec<u64>,
    /// For how long it may be used, and who decided.
    pub verdict: Verdict,
    /// The request fields that select it.
    pub variant: Variant,
    /// When it was asked for.
    pub asked: Instant,
    /// When it arrived.
    pub received: Instant,
    /// How old it was then.
    initial_age: Duration,
    /// The pages that it belongs to, where our `ttl` decides.
    set: Option<Arc<PageSet>>,
    /// How often it answered, and those that it took the place of.
    hits: Hits,
}

/// A count that is made while it is shared, and goes on from there in a copy.
#[derive(Debug, Default)]
struct Hits(AtomicU64);

impl Clone for Hits {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// What an entry is made of.
#[derive(Clone)]
pub struct Ingredients {
    /// Whether the endpoint's rule is plain, so that nothing is added.
    pub plain: bool,
    /// Whether it answers a `HEAD`.
    pub is_head: bool,
    /// The status.
    pub status: StatusCode,
    /// The fields, less those of the connection.
    pub fields: HeaderMap,
    /// The body, decoded.
    pub body: Bytes,
    /// What was found in the body.
    pub inspection: Inspection,
    /// For how long it may be used, and who decided.
    pub verdict: Verdict,
    /// Whether it goes on the shelf; else it is given out and forgotten.
    pub kept: bool,
    /// The request fields that select it.
    pub variant: Variant,
    /// When it arrived.
    pub received: Now,
    /// The time from asking to receiving.
    pub delay: Duration,
}

/// Talkdesk's own name for a request, for a ticket.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Talkdesk's own name for the request that it answered so.
#[must_use]
pub fn upstream_request_id(fields: &HeaderMap) -> Option<Arc<str>> {
    fields.get(UPSTREAM_REQUEST_ID).and_then(readable)
}

fn readable(name: &HeaderValue) -> Option<Arc<str>> {
    Some(crate::oauth::grant::printable(name.to_str().ok()?).into())
}

/// The fields that links stand in.
pub const LINK_FIELDS: [HeaderName; 3] = [LINK, LOCATION, CONTENT_LOCATION];

impl Entry {
    /// Makes an entry, and prepares what clients get of it.
    #[must_use]
    pub fn new(ingredients: Ingredients) -> Self {
        let Ingredients {
            plain,
            is_head,
            status,
            fields,
            body,
            inspection: Inspection { links, counts, page, record_ids },
            verdict,
            kept,
            variant,
            received,
            delay,
        } = ingredients;
        let passes = |name: &HeaderName| {
            *name != UPSTREAM_REQUEST_ID
                && (is_head || *name != CONTENT_LENGTH)
                && (links.is_empty() || !is_digest(name))
                && !(verdict.ours && [EXPIRES, PRAGMA].contains(name))
        };
        let mut added = Vec::with_capacity(2);
        if verdict.ours {
            added.push((CACHE_CONTROL, HeaderValue::from_static("private, no-cache")));
        }
        let etag = match fields.get(&ETAG) {
            Some(etag) if !links.is_empty() => Some(weakened(etag)),
            // The first, where there are several: it is the one that conditions are held against.
            Some(etag) => (fields.get_all(&ETAG).iter().count() > 1).then(|| etag.clone()),
            None => (status == StatusCode::OK && !plain && !is_head).then(|| own_etag(&body, &links)),
        };
        added.extend(etag.map(|etag| (ETAG, etag)));
        Self {
            status,
            has_links_in_fields: LINK_FIELDS.iter().any(|name| fields.contains_key(name)),
            fields: StoredFields::new(&fields, passes, &added, kept),
            body,
            is_head,
            links,
            counts,
            page,
            record_ids,
            verdict,
            variant,
            asked: received.monotonic.checked_sub(delay).unwrap_or(received.monotonic),
            received: received.monotonic,
            initial_age: initial_age(&fields, received.wall, delay),
            set: None,
            hits: Hits::default(),
        }
    }

    /// The entity tag that clients get: the origin's, weak where the body is given out with other links than the origin's,
    /// since the bytes then differ from client to client; or one of the proxy's own.
    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.fields.client(&ETAG)
    }

    /// Talkdesk's own name for the request that it answered.
    #[must_use]
    pub fn upstream_request_id(&self) -> Option<Arc<str>> {
        self.fields.origin(&UPSTREAM_REQUEST_ID).and_then(readable)
    }

    /// Makes it a page of a set, whose life it shares.
    pub(super) fn join(&mut self, set: Arc<PageSet>, lifetime: Duration) {
        self.verdict.freshness.lifetime = lifetime;
        self.set = Some(set);
    }

    /// Goes on where the entry stood that it confirms.
    pub fn carry_on(&mut self, confirmed: &Self) {
        self.hits = confirmed.hits.clone();
    }

    /// The same answer, stale from now on.
    #[must_use]
    pub(super) fn staled(&self, now: Now) -> Self {
        let mut stale = self.clone();
        let lifetime = &mut stale.verdict.freshness.lifetime;
        *lifetime = self.counted_age(now).min(*lifetime);
        stale
    }

    /// The pages that it belongs to, where our `ttl` decides.
    #[must_use]
    pub fn set(&self) -> Option<&Arc<PageSet>> {
        self.set.as_ref()
    }

    /// Whether it is not to be used any more, because its pages do not belong together.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_dropped())
    }

    /// Whether it is to be chosen where both answer a request, and the other one arrived later: one whose `Vary` speaks
    /// of the request goes before one that says nothing (RFC 9111, section 4.1), then the one of the later `Date`
    /// (section 4).
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

    /// Counts an answer that was given from it.
    pub fn hit(&self) {
        self.hits.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it answered.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.0.load(Ordering::Relaxed)
    }

    /// How old the answer is (RFC 9111, section 4.2.3).
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// The age that freshness is held against. Our `ttl` counts from arrival: what the origin's clock says
    /// is not known to be right.
    #[must_use]
    pub fn counted_age(&self, now: Now) -> Duration {
        if self.verdict.from_arrival { now.since(self.received) } else { self.age(now) }
    }

    /// How long it stays fresh yet; negative once it is stale, in whole seconds.
    #[must_use]
    pub fn remaining(&self, now: Now) -> i64 {
        let (lifetime, age) = (self.verdict.freshness.lifetime.as_secs(), self.counted_age(now).as_secs());
        i64::try_from(lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(age)
    }

    /// Whether it may still be served because a fresh one can't be had.
    #[must_use]
    pub fn serves_on_error(&self, now: Now) -> bool {
        !self.verdict.freshness.never_stale
            && self.counted_age(now)
                < self.verdict.freshness.lifetime.saturating_add(self.verdict.freshness.stale_if_error)
    }

    /// Whether it may still be served while a fresh one is fetched. One of several pages may not: a walk would
    /// meet old ones and new ones.
    #[must_use]
    pub fn serves_while_revalidating(&self, now: Now) -> bool {
        let limit =
            self.verdict.freshness.lifetime.saturating_add(self.verdict.freshness.stale_while_revalidate);
        !self.verdict.freshness.never_stale
            && !self.verdict.freshness.always_validate
            && !self.set.as_ref().is_some_and(|set| set.has_several())
            && self.counted_age(now) < limit
    }

    /// For how long it can yet be of use at `instant`; none where that has no limit: its origin can say whether it
    /// still stands, or leaves it to clients how stale they take it (`max-stale`).
    #[must_use]
    pub fn useful_for(&self, instant: Instant) -> Option<Duration> {
        let Freshness { lifetime, stale_while_revalidate, stale_if_error, never_stale, .. } =
            self.verdict.freshness;
        if self.can_be_validated() || !(self.verdict.ours || never_stale) {
            return None;
        }
        let before = if self.verdict.from_arrival { Duration::ZERO } else { self.initial_age };
        let age = before.saturating_add(instant.saturating_duration_since(self.received));
        Some(lifetime.saturating_add(stale_while_revalidate.max(stale_if_error)).saturating_sub(age))
    }

    /// Whether it has anything to be validated by.
    #[must_use]
    pub fn can_be_validated(&self) -> bool {
        [ETAG, LAST_MODIFIED].iter().any(|name| self.fields.origin(name).is_some())
    }

    /// The memory that it takes, its share of its set included, but for its place.
    #[must_use]
    pub fn weight(&self) -> usize {
        let own = size_of::<Self>() + ALLOCATION + self.body.len() + 2 * ALLOCATION;
        own + self.links.len() * size_of::<Splice>()
            + self.fields.weight(ALLOCATION)
            + self.variant.length()
            + self.set.as_ref().map_or(0, |set| set.share())
    }
}

/// What an allocation takes beside what was asked for, a reference count included.
const ALLOCATION: usize = 32;

/// Where the origin has no tag, one is made from the body.
fn own_etag(body: &Bytes, links: &[Splice]) -> HeaderValue {
    let hash = URL_SAFE_NO_PAD.encode(&digest(&SHA256, body).as_ref()[..15]);
    let weak = if links.is_empty() { "" } else { "W/" };
    HeaderValue::try_from(format!("{weak}\"{hash}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Takes away what describes the origin's bytes, where those are not the ones that are given out: a client that
/// checked a digest would find it wrong, and a range of the origin's is not the same range here.
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
    /// What a client's `If-Modified-Since` is held against: `Last-Modified`, or `Date` where there is none (RFC 9111,
    /// section 4.3.2).
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
        let entry = Entry::new(ingredients(fields, links));
        let given = entry.fields.for_clients(HeaderValue::from_static("0"));
        assert_eq!(given.get_all(ETAG).iter().collect::<Vec<_>>(), [tag]);
        assert_eq!(entry.etag(), given.get(ETAG));
        assert_eq!(entry.fields.of_origin().get_all(ETAG).iter().count(), 2);
    }

    fn ingredients(fields: HeaderMap, links: &[Splice]) -> Ingredients {
        Ingredients {
            plain: true,
            is_head: false,
            status: StatusCode::OK,
            variant: Variant::of(&fields, &fields),
            fields,
            body: Bytes::from_static(b"body"),
            inspection: Inspection { links: links.to_vec(), ..Inspection::default() },
            verdict: Verdict::NOT_KEPT,
            kept: true,
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
        let entry = Entry::new(ingredients(fields, links));
        assert!(entry.etag().is_some_and(|etag| etag.as_bytes().ends_with(b"\"tag\"")));
        assert!(head.is_unique(), "nobody else holds it");
    }
}
