//! The store of cached responses: lookup, storing, removal.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foldhash::quality::RandomState;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;

use crate::config;
use crate::domain::credential::CredentialKey;
use crate::metrics::Metrics;
use crate::rfc9111::key::{PrimaryKey, Variant};

use super::bypasses::{BypassedRequest, RecentBypasses};
use super::entry::Entry;
use super::label::SlotLabel;
use super::lookup::Lookup;
use super::page_set::{Admission, Arrival, Dropped, PageSets};
use super::policy::Bypass;
use super::purges::{Purges, Selection};
use super::refusals::Refusals;

/// The store of cached responses.
pub struct ResponseCache {
    pub(super) slots: moka::sync::Cache<PrimaryKey, Arc<Slot>, RandomState>,
    pub(super) sets: PageSets,
    pub(super) purges: Purges,
    pub(super) refusals: Refusals,
    pub(super) bypasses: RecentBypasses,
    pub(super) metrics: Arc<Metrics>,
}

/// The counters at the time of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// The number of purges so far.
    pub purges: u64,
    /// The number of refusals so far.
    pub refusals: u64,
}

/// The entries of one primary key.
#[derive(Debug)]
pub struct Slot {
    /// What is stored here, for purging and for the admin API.
    pub label: SlotLabel,
    /// The variants, the most recent first.
    pub variants: Vec<Arc<Entry>>,
}

/// The overhead per slot of `moka`, [`Slot`] and its list, beside key and entries. `tests/weight.rs`
/// measures it.
const BOOKKEEPING: usize = 500;

/// The most variants per slot. Keeping more is not useful, so the oldest are dropped.
pub(super) const MOST_VARIANTS: usize = 16;

impl ResponseCache {
    /// An empty store.
    #[must_use]
    pub fn new(cache: &config::Cache, metrics: Arc<Metrics>) -> Self {
        let counted = Arc::clone(&metrics);
        let slots = moka::sync::Cache::builder()
            .max_capacity(cache.max_bytes)
            .weigher(|key: &PrimaryKey, slot: &Arc<Slot>| weight(key, slot))
            .expire_after(KeepAsLongAsUseful)
            .eviction_listener(move |key, slot: Arc<Slot>, cause| {
                if cause != RemovalCause::Replaced {
                    slot.variants.iter().filter_map(|entry| entry.set()).for_each(|set| set.forget(&key));
                }
                counted.evicted(match cause {
                    RemovalCause::Size => "size",
                    RemovalCause::Expired => "expired",
                    RemovalCause::Replaced => "replaced",
                    RemovalCause::Explicit => "purged",
                });
            })
            // Keys are long and are hashed at every lookup, so the hasher is a fast one. It is seeded per
            // process.
            .build_with_hasher(RandomState::default());
        Self {
            slots,
            sets: PageSets::default(),
            purges: Purges::default(),
            refusals: Refusals::default(),
            bypasses: RecentBypasses::default(),
            metrics,
        }
    }

    /// Finds the response that a request selects, fresh or stale. `selects` tells whether a variant matches;
    /// it is not called for a variant without `Vary` fields.
    #[must_use]
    pub fn find(&self, key: &PrimaryKey, selects: impl Fn(&Variant) -> bool) -> Lookup {
        let Some(slot) = self.slots.get(key) else { return Lookup::Nothing };
        let mut usable = slot.variants.iter().filter(|entry| !entry.is_dropped()).peekable();
        if usable.peek().is_none() {
            return Lookup::Nothing;
        }
        usable
            .filter(|entry| entry.variant.is_any() || selects(&entry.variant))
            .reduce(|one, other| if other.goes_before(one) { other } else { one })
            .map_or(Lookup::OtherVariants, |entry| Lookup::Entry(Arc::clone(entry)))
    }

    /// The number of purges so far. A response records it at its request.
    #[must_use]
    pub fn purges(&self) -> u64 {
        self.purges.count()
    }

    /// The counters that a response records at its request.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation { purges: self.purges.count(), refusals: self.refusals.count() }
    }

    /// The number of the latest refusal of a URL. A request after it must not wait for an earlier upstream
    /// request.
    #[must_use]
    pub fn latest_refusal(&self, credential: &CredentialKey, path_and_query: &str) -> Option<u64> {
        self.refusals.latest(credential, path_and_query)
    }

    /// Removes all responses at a key. Responses that were requested earlier are not stored there any more.
    pub fn refuse(&self, key: &PrimaryKey, credential: &CredentialKey, path_and_query: &str) {
        self.refusals.record(credential, path_and_query);
        self.remove(key);
    }

    /// Stores a response that may be stored and was requested at that generation. If the rule's `ttl` decides, it
    /// becomes a page of its set.
    ///
    /// Returns the entry as stored; or as it was, with the reason why it is not stored.
    pub fn store(
        &self,
        key: &PrimaryKey,
        label: &SlotLabel,
        mut entry: Entry,
        asked_at: Generation,
    ) -> (Arc<Entry>, Result<(), Bypass>) {
        let overtaken = || self.overtaken(asked_at, label);
        if let Some(bypass) = overtaken() {
            return (Arc::new(entry), Err(bypass));
        }
        if self.has_newer(key, &entry) {
            return (Arc::new(entry), Err(Bypass::Superseded));
        }
        if entry.decision.by_ttl {
            let record_ids = std::mem::take(&mut entry.record_ids);
            let Admission { joined, dropped } = self.admit(key, label, &entry, &record_ids);
            if let Some(dropped) = dropped {
                self.sweep(&dropped);
            }
            let Some((set, lifetime)) = joined else {
                return (Arc::new(entry), Err(Bypass::Superseded));
            };
            entry.join(set, lifetime);
        }
        let entry = Arc::new(entry);
        self.put(key, label.clone(), &entry);
        // A purge or refusal between the check and `put` did not find this entry, so check again.
        let overtaken = overtaken().or_else(|| entry.is_dropped().then_some(Bypass::Superseded));
        if overtaken.is_some() {
            self.remove_entry(key, &entry);
        }
        (entry, overtaken.map_or(Ok(()), Err))
    }

    /// Why a response that was requested at that generation must not be stored any more.
    fn overtaken(&self, asked_at: Generation, label: &SlotLabel) -> Option<Bypass> {
        if self.purges.covers(asked_at.purges, label) {
            Some(Bypass::Purged)
        } else if self.refusals.covers(asked_at.refusals, &label.credential, label.path_and_query()) {
            Some(Bypass::Superseded)
        } else {
            None
        }
    }

    /// The stored response that the same requests select.
    fn predecessor(&self, key: &PrimaryKey, entry: &Entry) -> Option<Arc<Entry>> {
        let known = self.variants(key);
        known.into_iter().find(|other| other.variant == entry.variant && !other.is_dropped())
    }

    /// Whether the stored response was requested later.
    fn has_newer(&self, key: &PrimaryKey, entry: &Entry) -> bool {
        self.predecessor(key, entry).is_some_and(|known| known.asked > entry.asked)
    }

    /// Finds or creates the set of a page.
    fn admit(&self, key: &PrimaryKey, label: &SlotLabel, entry: &Entry, record_ids: &[u64]) -> Admission {
        let known = self.predecessor(key, entry);
        self.sets.admit(&Arrival {
            set: &label.pages,
            page: key,
            counts: entry.counts,
            edges: entry.page.edges,
            record_ids,
            asked: entry.asked,
            received: entry.received,
            lifetime: entry.decision.freshness.lifetime,
            changed: known.is_some_and(|known| known.body != entry.body),
        })
    }

    /// Removes the pages of a dropped set.
    fn sweep(&self, dropped: &Dropped) {
        for key in &dropped.members {
            self.retain(key, |entry| entry.set().is_none_or(|set| !Arc::ptr_eq(set, &dropped.set)));
        }
    }

    /// All responses stored at a key.
    #[must_use]
    pub fn variants(&self, key: &PrimaryKey) -> Vec<Arc<Entry>> {
        self.slots.get(key).map(|slot| slot.variants.clone()).unwrap_or_default()
    }

    /// Stores a response in place of the one that the same requests select.
    fn put(&self, key: &PrimaryKey, mut label: SlotLabel, entry: &Arc<Entry>) {
        self.slots.entry_by_ref(key).and_upsert_with(|known| {
            let mut variants = vec![Arc::clone(entry)];
            if let Some(known) = known {
                // Reuse the label that is stored already, so that equal keys share one allocation.
                if known.value().label == label {
                    label = known.value().label.clone();
                }
                let others = known
                    .value()
                    .variants
                    .iter()
                    .filter(|other| other.variant != entry.variant && !other.is_dropped());
                variants.extend(others.take(MOST_VARIANTS - 1).cloned());
            }
            Arc::new(Slot { label, variants })
        });
    }

    /// Removes all responses at a key.
    pub fn remove(&self, key: &PrimaryKey) {
        self.slots.invalidate(key);
    }

    /// Removes a response if it is still this one.
    pub fn remove_entry(&self, key: &PrimaryKey, entry: &Arc<Entry>) {
        self.retain(key, |other| !Arc::ptr_eq(other, entry));
    }

    fn retain(&self, key: &PrimaryKey, keeps: impl Fn(&Arc<Entry>) -> bool) {
        self.slots.entry_by_ref(key).and_compute_with(|known| {
            let Some(known) = known else { return Op::Nop };
            let slot = known.value();
            let left: Vec<_> = slot.variants.iter().filter(|other| keeps(other)).cloned().collect();
            if left.is_empty() {
                Op::Remove
            } else if left.len() == slot.variants.len() {
                Op::Nop
            } else {
                Op::Put(Arc::new(Slot { label: slot.label.clone(), variants: left }))
            }
        });
    }

    /// Removes all responses of a credential.
    pub fn forget_credential(&self, credential: &CredentialKey) {
        self.invalidate(|label| label.credential == *credential);
        self.tidy();
    }

    /// Removes the responses of one endpoint that were fetched with a credential for single Instances.
    /// Responses of the endpoint that were requested earlier are not stored any more.
    pub fn forget_instances(&self, credential: &CredentialKey, endpoint: &Arc<str>) {
        self.purges.record(Selection {
            credential: Some(credential.clone()),
            endpoint: Some(Arc::clone(endpoint)),
            ..Selection::default()
        });
        self.invalidate(|label| {
            label.credential == *credential && label.account.is_some() && label.endpoint == *endpoint
        });
    }

    /// Removes every slot that `picks` selects.
    fn invalidate(&self, picks: impl Fn(&SlotLabel) -> bool) {
        for (key, slot) in &self.slots {
            if picks(&slot.label) {
                self.slots.invalidate(&*key);
            }
        }
    }

    /// Records that a response was not stored, and why.
    pub fn record_bypass(
        &self,
        key: &PrimaryKey,
        label: impl FnOnce() -> SlotLabel,
        bypass: Bypass,
        now: SystemTime,
    ) {
        self.metrics.not_stored(bypass.as_str());
        self.bypasses.record(key, label, bypass, now);
    }

    /// The responses that were not stored recently.
    pub fn bypasses(&self) -> impl Iterator<Item = Arc<BypassedRequest>> {
        self.bypasses.all()
    }

    /// All slots, for the admin API.
    pub fn slots(&self) -> impl Iterator<Item = Arc<Slot>> {
        self.slots.iter().map(|(_, slot)| slot)
    }

    /// Removes expired entries and updates the metrics. Must be called every second: `moka` does neither by
    /// itself without traffic.
    pub fn tidy(&self) {
        self.slots.run_pending_tasks();
        self.sets.tidy();
        self.bypasses.tidy();
        let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache_entries.set(as_gauge(self.slots.entry_count()));
        self.metrics.cache_bytes.set(as_gauge(self.slots.weighted_size()));
    }

    /// The number of slots and their total weight, as of the last [`tidy`](Self::tidy).
    #[must_use]
    pub fn fill(&self) -> (u64, u64) {
        (self.slots.entry_count(), self.slots.weighted_size())
    }
}

fn weight(key: &PrimaryKey, slot: &Slot) -> u32 {
    let variants: usize = slot.variants.iter().map(|entry| entry.weight()).sum();
    let pages = &slot.label.pages;
    let label = if pages.is_shared_with(key) { 0 } else { pages.length() };
    u32::try_from(key.length() + label + BOOKKEEPING + variants).unwrap_or(u32::MAX)
}

/// Expires a slot once none of its entries can be used: neither fresh, nor stale, nor by validation.
struct KeepAsLongAsUseful;

impl moka::Expiry<PrimaryKey, Arc<Slot>> for KeepAsLongAsUseful {
    fn expire_after_create(&self, _: &PrimaryKey, slot: &Arc<Slot>, created: Instant) -> Option<Duration> {
        useful_for(slot, created)
    }

    fn expire_after_update(
        &self,
        _: &PrimaryKey,
        slot: &Arc<Slot>,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        useful_for(slot, updated)
    }
}

/// The longest time that one of the entries can be used; none if there is no limit.
pub(super) fn useful_for(slot: &Slot, instant: Instant) -> Option<Duration> {
    let each = slot.variants.iter().map(|entry| entry.useful_for(instant));
    each.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other))).flatten()
}
