//! Pages that belong together: the entries that differ in nothing but the query parameters `page` and `cursor`.
//!
//! Whoever walks from page to page must not meet a page from before a change and then one from after it: a
//! record would be seen twice, or not at all. So the pages of a set share one deadline, from the first that was
//! fetched; a page that says there are more or fewer records or pages than its siblings do, or that has other
//! content than before, drops them; and they are purged together. Pages without counts, as of monthly usage, are compared
//! by record: a page that contains the first or last record of a sibling drops the set, because records have moved
//! between pages. Jitter is a set's too: it shortens the life of
//! all of its pages by the same fraction, so that sets that were fetched together do not end together.
//!
//! An entry holds its set, so whether it was dropped costs a lookup one atomic load, and a set that no entry
//! holds any more is gone. Nothing here knows the shelf: what has to leave it is given back as keys.
//!
//! Deliberately absent: sets where the origin decides how long an answer is fresh.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::inspect::{Count, Counts};
use crate::rfc9111::key::PrimaryKey;

/// Pages with equal counts.
#[derive(Debug)]
pub struct PageSet {
    counts: Counts,
    dropped: AtomicBool,
    several: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was asked for before this is older than the set. None: nothing was before it.
    begun: Option<Instant>,
    /// Until when its pages are fresh.
    deadline: Instant,
    /// When the latest of its pages was asked for.
    latest_asked: Instant,
    /// The pages, by their keys; some may have left the shelf.
    members: Members,
    /// The first and the last record of each page, where the pages have no counts.
    edges: Vec<Edges>,
}

/// The first and the last record of a page, by their hashed ids.
#[derive(Debug)]
struct Edges {
    page: PrimaryKey,
    first: u64,
    last: u64,
}

/// Keys of pages. Nearly every set has one page, and is as small as that.
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

    /// Whether there is no other than this one.
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
    /// Keyed anew by each process, so that replicas do not refresh together either.
    jitter: RandomState,
}

/// A page that was fetched.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The key of its set: its own without `page` and `cursor`.
    pub set: &'a PrimaryKey,
    /// Its own key.
    pub page: &'a PrimaryKey,
    /// Its counts of records and pages.
    pub counts: Counts,
    /// The hashed ids of its first and its last record.
    pub edges: Option<(u64, u64)>,
    /// The hashed ids of its records. Empty after a 304: the body is unchanged.
    pub record_ids: &'a [u64],
    /// When it was asked for.
    pub asked: Instant,
    /// When it arrived.
    pub received: Instant,
    /// For how long the rule lets it be fresh.
    pub lifetime: Duration,
    /// Whether it differs from the page that it takes the place of, where there is one.
    pub changed: bool,
}

/// What became of a page, and the set that was dropped because of it.
#[derive(Debug)]
pub struct Admission {
    /// Its set, and for how long it is fresh; none: it is older than what is known already.
    pub joined: Option<(Arc<PageSet>, Duration)>,
    /// A set whose pages have to leave the shelf.
    pub dropped: Option<Dropped>,
}

/// A set that is not to be used any more, and the keys where its pages stand.
#[derive(Debug)]
pub struct Dropped {
    /// The set.
    pub set: Arc<PageSet>,
    /// The keys.
    pub members: HashSet<PrimaryKey>,
}

/// A life is shortened by this part of it at most.
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

    /// Whether its pages are not to be used any more.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Whether more than one of its pages was asked for, so that there are walks, which could meet old ones and new
    /// ones.
    #[must_use]
    pub fn has_several(&self) -> bool {
        self.several.load(Ordering::Relaxed)
    }

    /// Drops it: none of its pages is used any more, nor what was asked for before `now`.
    #[must_use]
    pub fn drop_all(self: &Arc<Self>, now: Instant) -> Dropped {
        self.dropped_as_of(&mut self.state(), now)
    }

    /// Ends it: its pages are stale, and what was asked for before `now` does not join it any more.
    pub fn end(&self, now: Instant) {
        let mut state = self.state();
        state.deadline = state.deadline.min(now);
        state.begun = state.begun.max(Some(now));
    }

    /// A page has left the shelf.
    pub fn forget(&self, page: &PrimaryKey) {
        let mut state = self.state();
        state.members.remove(page);
        state.edges.retain(|edges| edges.page != *page);
    }

    /// The memory that it takes for each of its pages.
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
    /// Finds the set of a page that was fetched, or begins one.
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

    /// Forgets the sets that no entry holds any more.
    pub fn tidy(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, set| set.strong_count() > 0);
        if known.capacity() > 4 * known.len().max(256) {
            known.shrink_to_fit();
        }
    }

    /// The life of a set, less its jitter.
    fn shortened(&self, set: &PrimaryKey, lifetime: Duration) -> Duration {
        const STEPS: u32 = 1000;
        let step = u32::try_from(self.jitter.hash_one(set) % u64::from(STEPS + 1)).unwrap_or_default();
        lifetime.saturating_sub(lifetime / MOST_JITTER / STEPS * step)
    }
}

/// Where a page belongs.
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
        // Of two that were under way at once, nobody knows which one is the newer.
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
            // What was asked for while the old pages were fresh may be as old as they are.
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

/// Whether a page has a record that another page begins or ends with.
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
