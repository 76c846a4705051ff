//! The answers that were not kept lately, and why, for whoever wonders that something is not cached.

use std::sync::Arc;
use std::time::SystemTime;

use super::PlaceLabel;
use super::judge::Bypass;
use crate::rfc9111::key::PrimaryKey;

/// An answer that was not kept.
#[derive(Clone, Debug)]
pub struct NotKept {
    /// What it was an answer to.
    pub label: PlaceLabel,
    /// Why, the last time.
    pub bypass: Bypass,
    /// When that was.
    pub last: SystemTime,
    /// How often it happened, for whatever reason.
    pub times: u64,
}

/// Those of late.
pub(super) struct NotKeptLately(moka::sync::Cache<PrimaryKey, Arc<NotKept>>);

/// So many are remembered. An entry takes a few kilobytes at most, since a request target does.
const REMEMBERED: u64 = 1000;

impl Default for NotKeptLately {
    fn default() -> Self {
        // The latest are of interest, not those that come most often.
        let policy = moka::policy::EvictionPolicy::lru();
        Self(moka::sync::Cache::builder().max_capacity(REMEMBERED).eviction_policy(policy).build())
    }
}

impl NotKeptLately {
    pub(super) fn note(&self, key: &PrimaryKey, label: PlaceLabel, bypass: Bypass, now: SystemTime) {
        self.0.entry_by_ref(key).and_upsert_with(|known| {
            let before = known.map_or(0, |known| known.value().times);
            Arc::new(NotKept { label, bypass, last: now, times: before.saturating_add(1) })
        });
    }

    /// Lets go of what is too much.
    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<NotKept>> {
        self.0.iter().map(|(_, not_kept)| not_kept)
    }
}
