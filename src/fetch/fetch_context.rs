//! What fetches use, and the current configuration.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::read_budget::ReadBudget;
use crate::cache::ResponseCache;
use crate::clock::Clock;
use crate::domain::learned::Learned;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// What fetches use.
pub struct FetchContext {
    /// The response cache.
    pub cache: Arc<ResponseCache>,
    /// The current configuration.
    pub snapshot: ArcSwap<Snapshot>,
    /// Held while the configuration changes, and while something is learned that depends on it.
    pub changing: Mutex<()>,
    /// What was learned from Talkdesk.
    pub learned: Arc<Learned>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The memory of response bodies that are being read.
    pub read_budget: Arc<ReadBudget>,
}

impl FetchContext {
    /// The current configuration.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
