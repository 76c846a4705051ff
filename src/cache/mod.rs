//! The response cache: moka is the shelf, `rfc9111` the judge.
//!
//! A place on the shelf is a primary key (credential first); at a place stand the variants that `Vary` tells
//! apart. The shelf is bounded by bytes, and an entry weighs what it really takes: key, fields, body and
//! bookkeeping. Entries leave when they can be used for nothing any more, when the shelf is full, or when they
//! are purged.
//!
//! Entries that differ in nothing but `page` are a set ([`page_set`]): they live, and go, together.
//!
//! Deliberately absent: a disk, and sharing with other processes.

mod changes;
pub mod closed_period;
pub mod entry;
pub mod fields;
pub mod judge;
mod label;
pub mod lookup;
pub mod not_kept;
pub mod page_set;
mod purge;
pub mod purges;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foldhash::quality::RandomState;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;

use crate::config;
use crate::domain::credential::CredentialKey;
use crate::metrics::Metrics;
use crate::rfc9111::key::{PrimaryKey, Variant};

use changes::Changes;
use judge::Bypass;
use not_kept::{NotKept, NotKeptLately};
use page_set::{Admission, Arrival, Dropped, PageSets};
use purges::{Purges, Selection};

pub use entry::Entry;
pub use label::{PlaceLabel, label, primary_key};

/// The shelf.
pub struct Shelf {
    places: moka::sync::Cache<PrimaryKey, Arc<Place>, RandomState>,
    sets: PageSets,
    purges: Purges,
    changes: Changes,
    not_kept: NotKeptLately,
    metrics: Arc<Metrics>,
}

/// What had happened when an answer was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// So many purges.
    pub purges: u64,
    /// So many changes of URLs.
    pub changes: u64,
}

/// What stands at one key.
#[derive(Debug)]
pub struct Place {
    /// What it is, for purging and for people.
    pub label: PlaceLabel,
    /// The answers that stand there, the latest first.
    pub variants: Vec<Arc<Entry>>,
}

/// What moka keeps per place beside key and value, and our own place and list; `tests/weight.rs` measures it.
const BOOKKEEPING: usize = 500;

/// A URL that varies more than this is not worth remembering further.
const MOST_VARIANTS: usize = 16;

impl Shelf {
    /// An empty shelf.
    #[must_use]
    pub fn new(cache: &config::Cache, metrics: Arc<Metrics>) -> Self {
        let counted = Arc::clone(&metrics);
        let places = moka::sync::Cache::builder()
            .max_capacity(cache.max_bytes)
            .weigher(|key: &PrimaryKey, place: &Arc<Place>| weight(key, place))
            .expire_after(KeepAsLongAsUseful)
            .eviction_listener(move |key, place: Arc<Place>, cause| {
                if cause != RemovalCause::Replaced {
                    place.variants.iter().filter_map(|entry| entry.set()).for_each(|set| set.forget(&key));
                }
                counted.evicted(match cause {
                    RemovalCause::Size => "size",
                    RemovalCause::Expired => "expired",
                    RemovalCause::Replaced => "replaced",
                    RemovalCause::Explicit => "purged",
                });
            })
            // A key is long, and is hashed for every hit. The seed is the process's own.
            .build_with_hasher(RandomState::default());
        Self {
            places,
            sets: PageSets::default(),
            purges: Purges::default(),
            changes: Changes::default(),
            not_kept: NotKeptLately::default(),
            metrics,
        }
    }

    /// The answer that a request selects, fresh or not. `selects` says whether a variant answers it: its fields are looked
    /// at only where what stands there varies.
    #[must_use]
    pub fn find(&self, key: &PrimaryKey, selects: impl Fn(&Variant) -> bool) -> Shelved {
        let Some(place) = self.places.get(key) else { return Shelved::Nothing };
        let mut usable = place.variants.iter().filter(|entry| !entry.is_dropped()).peekable();
        if usable.peek().is_none() {
            return Shelved::Nothing;
        }
        usable
            .filter(|entry| entry.variant.is_any() || selects(&entry.variant))
            .reduce(|one, other| if other.goes_before(one) { other } else { one })
            .map_or(Shelved::OtherVariants, |entry| Shelved::Entry(Arc::clone(entry)))
    }

    /// How many purges there were so far: what an answer notes when it is asked for.
    #[must_use]
    pub fn purges(&self) -> u64 {
        self.purges.count()
    }

    /// What an answer notes when it is asked for.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { purges: self.purges.count(), changes: self.changes.count() }
    }

    /// The latest change of a URL: whoever asks after it does not wait for what was asked for before.
    #[must_use]
    pub fn changed(&self, credential: &CredentialKey, path_and_query: &str) -> Option<u64> {
        self.changes.latest(credential, path_and_query)
    }

    /// Takes all that stands at a key from the shelf; what was asked for before is not stored there any more.
    pub fn refuse(&self, key: &PrimaryKey, credential: &CredentialKey, path_and_query: &str) {
        self.changes.note(credential, path_and_query);
        self.remove(key);
    }

    /// Takes from the shelf what stands there for these paths, whoever may see it; what was asked for before is not
    /// stored any more.
    pub fn change(&self, credential: &CredentialKey, paths: &[String]) {
        for path in paths {
            self.changes.note(credential, path);
        }
        self.invalidate(|label| {
            label.credential == *credential && paths.iter().any(|path| *path == label.path_and_query())
        });
    }

    /// Keeps an answer that may be kept, asked for at that moment. Where our `ttl` decides, it
    /// becomes a page of its set.
    ///
    /// Gives it back as it is kept; or as it was, with the reason why it is not kept after all.
    pub fn keep(
        &self,
        key: &PrimaryKey,
        label: &PlaceLabel,
        mut entry: Entry,
        asked_at: Moment,
    ) -> (Arc<Entry>, Result<(), Bypass>) {
        let overtaken = || self.overtaken(asked_at, label);
        if let Some(bypass) = overtaken() {
            return (Arc::new(entry), Err(bypass));
        }
        if self.has_newer(key, &entry) {
            return (Arc::new(entry), Err(Bypass::Superseded));
        }
        if entry.verdict.from_arrival {
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
        // Whoever came between did not find it on the shelf.
        let overtaken = overtaken().or_else(|| entry.is_dropped().then_some(Bypass::Superseded));
        if overtaken.is_some() {
            self.remove_entry(key, &entry);
        }
        (entry, overtaken.map_or(Ok(()), Err))
    }

    /// Why an answer that was asked for at that moment is not to be kept any more.
    fn overtaken(&self, asked_at: Moment, label: &PlaceLabel) -> Option<Bypass> {
        if self.purges.took(asked_at.purges, label) {
            Some(Bypass::Purged)
        } else if self.changes.took(asked_at.changes, &label.credential, label.path_and_query()) {
            Some(Bypass::Superseded)
        } else {
            None
        }
    }

    /// The answer that the same requests select.
    fn predecessor(&self, key: &PrimaryKey, entry: &Entry) -> Option<Arc<Entry>> {
        let known = self.variants(key);
        known.into_iter().find(|other| other.variant == entry.variant && !other.is_dropped())
    }

    /// Whether what stands there was asked for later.
    fn has_newer(&self, key: &PrimaryKey, entry: &Entry) -> bool {
        self.predecessor(key, entry).is_some_and(|known| known.asked > entry.asked)
    }

    /// Finds the set of a page.
    fn admit(&self, key: &PrimaryKey, label: &PlaceLabel, entry: &Entry, record_ids: &[u64]) -> Admission {
        let known = self.predecessor(key, entry);
        self.sets.admit(&Arrival {
            set: &label.pages,
            page: key,
            counts: entry.counts,
            edges: entry.page.edges,
            record_ids,
            asked: entry.asked,
            received: entry.received,
            lifetime: entry.verdict.freshness.lifetime,
            changed: known.is_some_and(|known| known.body != entry.body),
        })
    }

    /// Takes the pages of a dropped set from the shelf.
    fn sweep(&self, dropped: &Dropped) {
        for key in &dropped.members {
            self.retain(key, |entry| entry.set().is_none_or(|set| !Arc::ptr_eq(set, &dropped.set)));
        }
    }

    /// Every answer that stands at a key.
    #[must_use]
    pub fn variants(&self, key: &PrimaryKey) -> Vec<Arc<Entry>> {
        self.places.get(key).map(|place| place.variants.clone()).unwrap_or_default()
    }

    /// Puts an answer on the shelf, in the place of the one that the same requests select.
    fn put(&self, key: &PrimaryKey, mut label: PlaceLabel, entry: &Arc<Entry>) {
        self.places.entry_by_ref(key).and_upsert_with(|known| {
            let mut variants = vec![Arc::clone(entry)];
            if let Some(known) = known {
                // Of two equal keys in memory one is enough, and the place stands at the first.
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
            Arc::new(Place { label, variants })
        });
    }

    /// Takes all that stands at a key from the shelf.
    pub fn remove(&self, key: &PrimaryKey) {
        self.places.invalidate(key);
    }

    /// Takes an answer from the shelf if it is still this one.
    pub fn remove_entry(&self, key: &PrimaryKey, entry: &Arc<Entry>) {
        self.retain(key, |other| !Arc::ptr_eq(other, entry));
    }

    fn retain(&self, key: &PrimaryKey, keeps: impl Fn(&Arc<Entry>) -> bool) {
        self.places.entry_by_ref(key).and_compute_with(|known| {
            let Some(known) = known else { return Op::Nop };
            let place = known.value();
            let left: Vec<_> = place.variants.iter().filter(|other| keeps(other)).cloned().collect();
            if left.is_empty() {
                Op::Remove
            } else if left.len() == place.variants.len() {
                Op::Nop
            } else {
                Op::Put(Arc::new(Place { label: place.label.clone(), variants: left }))
            }
        });
    }

    /// Takes all of a credential from the shelf.
    pub fn forget_credential(&self, credential: &CredentialKey) {
        self.invalidate(|label| label.credential == *credential);
        self.tidy();
    }

    /// Takes from the shelf what was fetched with a credential for Instances alone, of one endpoint. What was asked for
    /// before is not stored any more.
    pub fn forget_instances(&self, credential: &CredentialKey, endpoint: &Arc<str>) {
        self.purges.note(Selection {
            credential: Some(credential.clone()),
            endpoint: Some(Arc::clone(endpoint)),
            ..Selection::default()
        });
        self.invalidate(|label| {
            label.credential == *credential && label.account.is_some() && label.endpoint == *endpoint
        });
    }

    /// Takes every place from the shelf that `picks` picks.
    fn invalidate(&self, picks: impl Fn(&PlaceLabel) -> bool) {
        for (key, place) in &self.places {
            if picks(&place.label) {
                self.places.invalidate(&*key);
            }
        }
    }

    /// Notes that an answer was not kept, and why.
    pub fn note_not_kept(
        &self,
        key: &PrimaryKey,
        label: impl FnOnce() -> PlaceLabel,
        bypass: Bypass,
        now: SystemTime,
    ) {
        self.metrics.not_stored(bypass.as_str());
        self.not_kept.note(key, label, bypass, now);
    }

    /// The answers that were not kept lately.
    pub fn not_kept(&self) -> impl Iterator<Item = Arc<NotKept>> {
        self.not_kept.all()
    }

    /// Every place, for people.
    pub fn places(&self) -> impl Iterator<Item = Arc<Place>> {
        self.places.iter().map(|(_, place)| place)
    }

    /// Lets go of what has expired, and shows how full the shelf is. To be called every second: moka does
    /// neither by itself while nobody comes.
    pub fn tidy(&self) {
        self.places.run_pending_tasks();
        self.sets.tidy();
        self.not_kept.tidy();
        let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache_entries.set(as_gauge(self.places.entry_count()));
        self.metrics.cache_bytes.set(as_gauge(self.places.weighted_size()));
    }

    /// How many places there are, and what they weigh, as of the last tidying.
    #[must_use]
    pub fn fill(&self) -> (u64, u64) {
        (self.places.entry_count(), self.places.weighted_size())
    }
}

/// What the shelf has for a request.
#[derive(Clone, Debug)]
pub enum Shelved {
    /// An answer.
    Entry(Arc<Entry>),
    /// Answers to the same URL, but not to this request (`Vary`).
    OtherVariants,
    /// Nothing.
    Nothing,
}

fn weight(key: &PrimaryKey, place: &Place) -> u32 {
    let variants: usize = place.variants.iter().map(|entry| entry.weight()).sum();
    let pages = &place.label.pages;
    let label = if pages.is_shared_with(key) { 0 } else { pages.length() };
    u32::try_from(key.length() + label + BOOKKEEPING + variants).unwrap_or(u32::MAX)
}

/// An entry stays for as long as it could be used: fresh, stale, or to be validated.
struct KeepAsLongAsUseful;

impl moka::Expiry<PrimaryKey, Arc<Place>> for KeepAsLongAsUseful {
    fn expire_after_create(&self, _: &PrimaryKey, place: &Arc<Place>, created: Instant) -> Option<Duration> {
        useful_for(place, created)
    }

    fn expire_after_update(
        &self,
        _: &PrimaryKey,
        place: &Arc<Place>,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        useful_for(place, updated)
    }
}

/// For as long as the one of its answers that is of use for longest.
fn useful_for(place: &Place, instant: Instant) -> Option<Duration> {
    let each = place.variants.iter().map(|entry| entry.useful_for(instant));
    each.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other))).flatten()
}

// A fuzz target plays the same model (`tests/fuzz`).
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "what only the tests use"))]
#[path = "shelf_tests.rs"]
mod tests;
/// Plays what a fuzzer says on the shelf and on a naive model of it, and panics where they do not agree.
#[cfg(fuzzing)]
pub fn play_against_the_model(choices: &[u8]) {
    tests::play(choices);
}
