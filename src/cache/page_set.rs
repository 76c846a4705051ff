//! Sets of pages: entries that differ only in the query parameters `page` and `cursor`.
//!
//! A client that follows the pages of a list must not get one page from before a change and the next from
//! after it: a record would be missing or duplicated. Therefore the pages of a set share one deadline,
//! counted from the first page that was fetched, and are purged together. A page drops its siblings if it
//! states other counts of records or pages, or if its own content has changed. Pages without counts (monthly
//! usage) are compared by record: a page that contains the first or last record of a sibling drops the set,
//! because records have moved between pages. Jitter applies per set: it shortens the lifetime of all pages by
//! the same fraction, so that sets that were fetched at one time do not expire at one time.
//!
//! Each entry holds a reference to its set, so a lookup checks for a dropped set with one atomic load, and a
//! set without entries is freed. This module does not access the store: it returns the keys to remove.
//!
//! Not implemented: sets of responses whose lifetime the origin decides.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::page::{Count, TotalCounts};
use crate::rfc9111::key::PrimaryKey;

/// A set of pages that state equal counts.
#[derive(Debug)]
pub struct PageSet {
    counts: TotalCounts,
    dropped: AtomicBool,
    several: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Responses that were requested before this are older than the set. None: nothing preceded the set.
    begun: Option<Instant>,
    /// The end of the freshness of its pages.
    deadline: Instant,
    /// When the latest of its pages was requested.
    latest_asked: Instant,
    /// The keys of its pages; some may have been evicted.
    members: Members,
    /// The first and last record of each page, if the pages have no counts.
    edges: Vec<Edges>,
}

/// The first and last record of a page, as hashed ids.
#[derive(Debug)]
struct Edges {
    page: PrimaryKey,
    first: u64,
    last: u64,
}

/// The keys of pages. Optimised for one page, which nearly every set has.
#[derive(Debug, Default)]
enum Members {
    #[default]
    None,
    One(PrimaryKey),
    #[expect(clippy::box_collection, reason = "it is rare, and would make every set larger")]
    Several(Box<HashSet<PrimaryKey>>),
}

impl Members {
    fn insert(&mut self, page: &PrimaryKey) {
        match self {
            Self::None => *self = Self::One(page.clone()),
            Self::One(known) if known == page => {}
            Self::One(known) => {
                *self = Self::Several(Box::new(HashSet::from([known.clone(), page.clone()])));
            }
            Self::Several(known) => {
                known.insert(page.clone());
            }
        }
    }

    fn remove(&mut self, page: &PrimaryKey) {
        match self {
            Self::One(known) if known == page => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Several(known) => {
                known.remove(page);
            }
        }
    }

    /// Whether the set has no other page than this one.
    fn are_none_but(&self, page: &PrimaryKey) -> bool {
        match self {
            Self::None => true,
            Self::One(known) => known == page,
            Self::Several(known) => known.iter().all(|known| known == page),
        }
    }

    fn into_keys(self) -> HashSet<PrimaryKey> {
        match self {
            Self::None => HashSet::new(),
            Self::One(page) => HashSet::from([page]),
            Self::Several(pages) => *pages,
        }
    }
}

/// The sets that have entries.
#[derive(Default)]
pub struct PageSets {
    known: Mutex<HashMap<PrimaryKey, Weak<PageSet>>>,
    /// Seeded per process, so that replicas do not refresh simultaneously either.
    jitter: RandomState,
}

/// A page that was fetched.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The key of its set: its own key without `page` and `cursor`.
    pub set: &'a PrimaryKey,
    /// Its own key.
    pub page: &'a PrimaryKey,
    /// The counts of records and pages that it states.
    pub counts: TotalCounts,
    /// The hashed ids of its first and last record.
    pub edges: Option<(u64, u64)>,
    /// The hashed ids of its records. Empty after a 304, because the body is unchanged.
    pub record_ids: &'a [u64],
    /// When it was requested.
    pub asked: Instant,
    /// When it was received.
    pub received: Instant,
    /// The freshness lifetime of the rule.
    pub lifetime: Duration,
    /// Whether its body differs from that of the stored page that it replaces.
    pub changed: bool,
}

/// The result of adding a page, and the set that was dropped because of it.
#[derive(Debug)]
pub struct Admission {
    /// The page's set and its freshness lifetime; none if the page is older than what is known already.
    pub joined: Option<(Arc<PageSet>, Duration)>,
    /// A set whose pages must be removed from the store.
    pub dropped: Option<Dropped>,
}

/// A set that must not be used any more, and the keys of its pages.
#[derive(Debug)]
pub struct Dropped {
    /// The set.
    pub set: Arc<PageSet>,
    /// The keys of its pages.
    pub members: HashSet<PrimaryKey>,
}

/// The divisor of the largest jitter: it shortens a lifetime by up to 1/20.
const MOST_JITTER: u32 = 20;

impl PageSet {
    fn new(arrival: &Arrival<'_>, begun: Option<Instant>, lifetime: Duration) -> Self {
        let set = Self {
            counts: arrival.counts,
            dropped: AtomicBool::new(false),
            several: AtomicBool::new(false),
            state: Mutex::new(State {
                begun,
                deadline: after(arrival.received, lifetime),
                latest_asked: arrival.asked,
                members: Members::None,
                edges: Vec::new(),
            }),
        };
        set.enlist(&mut set.state(), arrival);
        set
    }

    /// Whether its pages must not be used any more.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Whether the set had several pages when one was last added: clients may follow its pages, and must not
    /// get old and new ones.
    #[must_use]
    pub fn has_several(&self) -> bool {
        self.several.load(Ordering::Relaxed)
    }

    /// Drops the set: its pages, and responses that were requested before `now`, are not used any more.
    #[must_use]
    pub fn drop_all(self: &Arc<Self>, now: Instant) -> Dropped {
        self.dropped_as_of(&mut self.state(), now)
    }

    /// Ends the set: its pages are stale from `now` on, and responses that were requested before `now` do not
    /// join it.
    pub fn end(&self, now: Instant) {
        let mut state = self.state();
        state.deadline = state.deadline.min(now);
        state.begun = state.begun.max(Some(now));
    }

    /// Removes a page that was evicted.
    pub fn forget(&self, page: &PrimaryKey) {
        let mut state = self.state();
        state.members.remove(page);
        state.edges.retain(|edges| edges.page != *page);
    }

    /// The estimated memory use per page in bytes.
    #[must_use]
    pub fn share(&self) -> usize {
        const WHOLE: usize = 220;
        const PAGE: usize = 80;
        let pages = match self.counts.total_pages {
            Count::Number(pages) => usize::try_from(pages).unwrap_or(usize::MAX).max(1),
            Count::Absent | Count::Unreadable => 1,
        };
        PAGE + WHOLE / pages
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enlist(&self, state: &mut State, arrival: &Arrival<'_>) {
        state.members.insert(arrival.page);
        state.latest_asked = state.latest_asked.max(arrival.asked);
        if self.counts.are_absent() {
            state.edges.retain(|edges| edges.page != *arrival.page);
            if let Some((first, last)) = arrival.edges {
                state.edges.push(Edges { page: arrival.page.clone(), first, last });
            }
        }
        self.several.store(!state.members.are_none_but(arrival.page), Ordering::Relaxed);
    }

    fn dropped_as_of(self: &Arc<Self>, state: &mut State, now: Instant) -> Dropped {
        self.dropped.store(true, Ordering::Release);
        state.begun = state.begun.max(Some(now));
        Dropped { set: Arc::clone(self), members: std::mem::take(&mut state.members).into_keys() }
    }
}

impl PageSets {
    /// Finds the set of a fetched page, or creates it.
    #[must_use]
    pub fn admit(&self, arrival: &Arrival<'_>) -> Admission {
        let lifetime = self.shortened(arrival.set, arrival.lifetime);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.get(arrival.set).and_then(Weak::upgrade);
        let placing = old.map_or(Placing::Begin(None, None), |old| placing(&old, arrival, lifetime));
        match placing {
            Placing::Join(set, lifetime) => Admission { joined: Some((set, lifetime)), dropped: None },
            Placing::Outdated(dropped) => Admission { joined: None, dropped },
            Placing::Begin(begun, dropped) => {
                let set = Arc::new(PageSet::new(arrival, begun, lifetime));
                known.insert(arrival.set.clone(), Arc::downgrade(&set));
                Admission { joined: Some((set, lifetime)), dropped }
            }
        }
    }

    /// Removes the sets without entries.
    pub fn tidy(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, set| set.strong_count() > 0);
        if known.capacity() > 4 * known.len().max(256) {
            known.shrink_to_fit();
        }
    }

    /// The lifetime of a set, shortened by its jitter.
    fn shortened(&self, set: &PrimaryKey, lifetime: Duration) -> Duration {
        const STEPS: u32 = 1000;
        let step = u32::try_from(self.jitter.hash_one(set) % u64::from(STEPS + 1)).unwrap_or_default();
        lifetime.saturating_sub(lifetime / MOST_JITTER / STEPS * step)
    }
}

/// What to do with a fetched page.
enum Placing {
    Join(Arc<PageSet>, Duration),
    Begin(Option<Instant>, Option<Dropped>),
    Outdated(Option<Dropped>),
}

fn placing(old: &Arc<PageSet>, arrival: &Arrival<'_>, lifetime: Duration) -> Placing {
    let mut state = old.state();
    if state.begun.is_some_and(|begun| arrival.asked < begun) {
        return Placing::Outdated(None);
    }
    if old.is_dropped() {
        return Placing::Begin(state.begun, None);
    }
    let is_over = arrival.received >= state.deadline;
    if old.counts != arrival.counts {
        // The order of two concurrent requests is not known, so neither response can be trusted as the newer
        // one.
        let unclear = !is_over && arrival.asked < state.latest_asked;
        let begun = match (is_over, unclear) {
            (true, _) => arrival.asked.min(state.deadline),
            (false, true) => state.latest_asked,
            (false, false) => arrival.asked,
        };
        let dropped = Some(old.dropped_as_of(&mut state, begun));
        return if unclear { Placing::Outdated(dropped) } else { Placing::Begin(Some(begun), dropped) };
    }
    let alone = state.members.are_none_but(arrival.page);
    if is_over || alone {
        if is_over {
            // A response that was requested while the old pages were fresh may be as old as they are.
            state.begun = state.begun.max(Some(arrival.asked.min(state.deadline)));
        } else if arrival.changed {
            state.begun = Some(arrival.asked);
        }
        state.deadline = after(arrival.received, lifetime);
        old.enlist(&mut state, arrival);
        return Placing::Join(Arc::clone(old), lifetime);
    }
    if arrival.changed || overlaps(&state.edges, arrival) {
        let dropped = old.dropped_as_of(&mut state, arrival.asked);
        return Placing::Begin(Some(arrival.asked), Some(dropped));
    }
    old.enlist(&mut state, arrival);
    Placing::Join(Arc::clone(old), state.deadline.saturating_duration_since(arrival.received))
}

/// Whether a page contains the first or last record of another page.
fn overlaps(edges: &[Edges], arrival: &Arrival<'_>) -> bool {
    let mut others = edges.iter().filter(|edges| edges.page != *arrival.page);
    others.any(|other| arrival.record_ids.contains(&other.first) || arrival.record_ids.contains(&other.last))
}

fn after(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(instant)
}

#[cfg(test)]
#[path = "page_set_tests.rs"]
mod tests;
