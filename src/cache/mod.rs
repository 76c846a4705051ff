//! The response cache: moka is the shelf, `rfc9111` the judge.
//!
//! A place on the shelf is a primary key (credential first); at a place stand the variants that `Vary` tells
//! apart. The shelf is bounded by bytes, and an entry weighs what it really takes: key, fields, body and
//! bookkeeping. Entries leave when they can be used for nothing any more, when the shelf is full, or when they
//! are purged.
//!
//! Deliberately absent: a disk, and sharing with other processes.

pub mod entry;
pub mod judge;
pub mod lookup;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;

use crate::config;
use crate::domain::credential::CredentialKey;
use crate::domain::entitlement::Permit;
use crate::domain::id::AccountId;
use crate::metrics::Metrics;
use crate::rfc9111::key::PrimaryKey;

pub use entry::Entry;

/// The shelf.
pub struct Shelf {
    places: moka::sync::Cache<PrimaryKey, Arc<Place>>,
    metrics: Arc<Metrics>,
}

/// What stands at one key.
#[derive(Debug)]
pub struct Place {
    /// What it is, for purging and for people.
    pub label: PlaceLabel,
    /// The answers that stand there, the latest first.
    pub variants: Vec<Arc<Entry>>,
}

/// Whose answer stands at a place, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceLabel {
    /// With which credential it was fetched.
    pub credential: CredentialKey,
    /// For which account alone, where the answer was checked for one.
    pub account: Option<AccountId>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// Path and query upstream.
    pub path_and_query: Arc<str>,
}

/// What moka keeps per entry beside key and value, measured; and our own place and list.
const BOOKKEEPING: usize = 300;

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
            .eviction_listener(move |_, _, cause| {
                counted.evicted(match cause {
                    RemovalCause::Size => "size",
                    RemovalCause::Expired => "expired",
                    RemovalCause::Replaced => "replaced",
                    RemovalCause::Explicit => "purged",
                });
            })
            .build();
        Self { places, metrics }
    }

    /// The answer that a request selects, fresh or not.
    #[must_use]
    pub fn find(&self, key: &PrimaryKey, request: &HeaderMap) -> Shelved {
        match self.places.get(key) {
            None => Shelved::Nothing,
            Some(place) => place
                .variants
                .iter()
                .find(|entry| entry.variant.matches(request))
                .map_or(Shelved::OtherVariants, |entry| Shelved::Entry(Arc::clone(entry))),
        }
    }

    /// Every answer that stands at a key.
    #[must_use]
    pub fn variants(&self, key: &PrimaryKey) -> Vec<Arc<Entry>> {
        self.places.get(key).map(|place| place.variants.clone()).unwrap_or_default()
    }

    /// Puts an answer on the shelf, in the place of the one that the same requests select.
    pub fn put(&self, key: &PrimaryKey, label: PlaceLabel, entry: &Arc<Entry>) {
        self.places.entry_by_ref(key).and_upsert_with(|known| {
            let mut variants = vec![Arc::clone(entry)];
            if let Some(known) = known {
                let others = known.value().variants.iter().filter(|other| other.variant != entry.variant);
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
        self.places.entry_by_ref(key).and_compute_with(|known| {
            let Some(known) = known else { return Op::Nop };
            let place = known.value();
            let left: Vec<_> =
                place.variants.iter().filter(|other| !Arc::ptr_eq(other, entry)).cloned().collect();
            if left.is_empty() {
                Op::Remove
            } else if left.len() == place.variants.len() {
                Op::Nop
            } else {
                Op::Put(Arc::new(Place { label: place.label.clone(), variants: left }))
            }
        });
    }

    /// Takes every place from the shelf that `picks` picks, and says how many answers stood there.
    pub fn purge(&self, picks: impl Fn(&PlaceLabel) -> bool) -> usize {
        let mut purged = 0;
        for (key, place) in &self.places {
            if picks(&place.label) {
                purged += place.variants.len();
                self.places.invalidate(&*key);
            }
        }
        self.tidy();
        purged
    }

    /// Every place, for people.
    pub fn places(&self) -> impl Iterator<Item = Arc<Place>> {
        self.places.iter().map(|(_, place)| place)
    }

    /// Lets go of what has expired, and shows how full the shelf is. To be called every second: moka does
    /// neither by itself while nobody comes.
    pub fn tidy(&self) {
        self.places.run_pending_tasks();
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

/// The primary key of a permitted request.
#[must_use]
pub fn primary_key(permit: &Permit) -> PrimaryKey {
    let credential = permit.credential();
    let wall = permit.wall().map(|wall| format!("{} {}", wall.account, wall.field));
    PrimaryKey::new(
        credential.key.as_bytes(),
        &credential.api_origin,
        permit.path_and_query(),
        wall.as_ref().map(String::as_bytes),
    )
}

/// What the place of a permitted request is called.
#[must_use]
pub fn label(permit: &Permit) -> PlaceLabel {
    PlaceLabel {
        credential: permit.credential().key.clone(),
        account: permit.wall().map(|wall| wall.account),
        endpoint: Arc::clone(&permit.endpoint().name),
        path_and_query: Arc::clone(permit.path_and_query()),
    }
}

fn weight(key: &PrimaryKey, place: &Place) -> u32 {
    let variants: usize = place.variants.iter().map(|entry| entry.weight()).sum();
    let label = place.label.path_and_query.len();
    u32::try_from(key.length() + label + BOOKKEEPING + variants).unwrap_or(u32::MAX)
}

/// An entry stays for as long as it could be used: fresh, stale, or to be validated.
struct KeepAsLongAsUseful;

impl moka::Expiry<PrimaryKey, Arc<Place>> for KeepAsLongAsUseful {
    fn expire_after_create(&self, _: &PrimaryKey, place: &Arc<Place>, _: Instant) -> Option<Duration> {
        Some(keep(place))
    }

    fn expire_after_update(
        &self,
        _: &PrimaryKey,
        place: &Arc<Place>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(keep(place))
    }
}

fn keep(place: &Place) -> Duration {
    place.variants.iter().map(|entry| entry.useful_for()).max().unwrap_or_default()
}
