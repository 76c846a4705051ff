//! The answers that were not kept lately, and why, for whoever wonders that something is not cached.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use foldhash::quality::RandomState;

use super::PlaceLabel;
use super::judge::Bypass;
use crate::rfc9111::key::PrimaryKey;

/// An answer that was not kept.
#[derive(Debug)]
pub struct NotKept {
    /// What it was an answer to.
    pub label: PlaceLabel,
    lately: Mutex<Lately>,
}

/// How it went with it.
#[derive(Clone, Copy, Debug)]
pub struct Lately {
    /// Why it was not kept, the last time.
    pub bypass: Bypass,
    /// When that was.
    pub last: SystemTime,
    /// How often it happened, for whatever reason.
    pub times: u64,
}

impl NotKept {
    /// How it went with it.
    #[must_use]
    pub fn lately(&self) -> Lately {
        *self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of late.
pub(super) struct NotKeptLately(moka::sync::Cache<PrimaryKey, Arc<NotKept>, RandomState>);

/// So many are remembered. An entry takes a few kilobytes at most, since a request target does.
const REMEMBERED: u64 = 1000;

impl Default for NotKeptLately {
    fn default() -> Self {
        // The latest are of interest, not those that come most often.
        let policy = moka::policy::EvictionPolicy::lru();
        let lately = moka::sync::Cache::builder().max_capacity(REMEMBERED).eviction_policy(policy);
        Self(lately.build_with_hasher(RandomState::default()))
    }
}

impl NotKeptLately {
    /// `label` is asked for the first time only: what is never kept comes again and again.
    pub(super) fn note(
        &self,
        key: &PrimaryKey,
        label: impl FnOnce() -> PlaceLabel,
        bypass: Bypass,
        now: SystemTime,
    ) {
        let lately = Lately { bypass, last: now, times: 0 };
        let known =
            self.0.get_with_by_ref(key, || Arc::new(NotKept { label: label(), lately: Mutex::new(lately) }));
        let mut known = known.lately.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Lately { times: known.times.saturating_add(1), ..lately };
    }

    /// Lets go of what is too much.
    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<NotKept>> {
        self.0.iter().map(|(_, not_kept)| not_kept)
    }
}
