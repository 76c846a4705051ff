//! The responses that were not stored recently, with the reasons, so that an operator can see why something
//! is not cached.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use foldhash::quality::RandomState;

use super::label::SlotLabel;
use super::policy::Bypass;
use crate::rfc9111::key::PrimaryKey;

/// A request whose response was not stored.
#[derive(Debug)]
pub struct BypassedRequest {
    /// The request.
    pub label: SlotLabel,
    lately: Mutex<Lately>,
}

/// The recent occurrences.
#[derive(Clone, Copy, Debug)]
pub struct Lately {
    /// The reason, the last time.
    pub bypass: Bypass,
    /// The time of the last occurrence.
    pub last: SystemTime,
    /// The number of occurrences, for any reason.
    pub times: u64,
}

impl BypassedRequest {
    /// The recent occurrences.
    #[must_use]
    pub fn lately(&self) -> Lately {
        *self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests whose responses were not stored recently.
pub(super) struct RecentBypasses(moka::sync::Cache<PrimaryKey, Arc<BypassedRequest>, RandomState>);

/// The number of remembered requests. One takes a few kilobytes at most, as the request target is limited.
const REMEMBERED: u64 = 1000;

impl Default for RecentBypasses {
    fn default() -> Self {
        // LRU: the most recent ones matter, not the most frequent ones.
        let policy = moka::policy::EvictionPolicy::lru();
        let lately = moka::sync::Cache::builder().max_capacity(REMEMBERED).eviction_policy(policy);
        Self(lately.build_with_hasher(RandomState::default()))
    }
}

impl RecentBypasses {
    /// Records an occurrence. `label` is called only for a new request, because most are repeated.
    pub(super) fn record(
        &self,
        key: &PrimaryKey,
        label: impl FnOnce() -> SlotLabel,
        bypass: Bypass,
        now: SystemTime,
    ) {
        let lately = Lately { bypass, last: now, times: 0 };
        let known = self.0.get_with_by_ref(key, || {
            Arc::new(BypassedRequest { label: label(), lately: Mutex::new(lately) })
        });
        let mut known = known.lately.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Lately { times: known.times.saturating_add(1), ..lately };
    }

    /// Evicts entries above the capacity.
    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<BypassedRequest>> {
        self.0.iter().map(|(_, bypasses)| bypasses)
    }
}
