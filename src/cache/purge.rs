//! Purging: removing entries, or making them stale, on an operator's request.
//!
//! All pages of a set are purged if one of them is selected. A purge is safe while requests run: it is
//! recorded before anything is removed, and a response that was requested earlier checks this record after it
//! has been stored.

use std::collections::HashSet;
use std::sync::Arc;

use moka::ops::compute::{CompResult, Op};

use super::label::SlotLabel;
use super::purges::Selection;
use super::response_cache::{ResponseCache, Slot};
use crate::clock::Now;
use crate::rfc9111::key::PrimaryKey;

impl ResponseCache {
    /// Removes the selected responses, and returns their number.
    pub fn purge(&self, selection: &Selection, now: Now) -> usize {
        self.purges.record(selection.clone());
        let picked = self.picked(|label| selection.picks(label));
        // Drop the sets first, so that none of their pages is served during the removal.
        for (_, slot) in &picked {
            for set in slot.variants.iter().filter_map(|entry| entry.set()) {
                drop(set.drop_all(now.monotonic));
            }
        }
        let purged = picked.iter().filter_map(|(key, _)| self.slots.remove(&**key));
        let purged = purged.map(|slot| slot.variants.len()).sum();
        self.tidy();
        purged
    }

    /// Makes the selected responses stale from now on, and returns their number. They may still be validated,
    /// and be served stale as if their lifetime had ended now.
    pub fn purge_softly(&self, selection: &Selection, now: Now) -> usize {
        self.purges.record(selection.clone());
        let picked = self.picked(|label| selection.picks(label));
        for (_, slot) in &picked {
            for set in slot.variants.iter().filter_map(|entry| entry.set()) {
                set.end(now.monotonic);
            }
        }
        picked.iter().map(|(key, _)| self.make_stale(key, now)).sum()
    }

    fn make_stale(&self, key: &PrimaryKey, now: Now) -> usize {
        let outcome = self.slots.entry_by_ref(key).and_compute_with(|known| {
            let Some(known) = known else { return Op::Nop };
            let slot = known.value();
            let variants = slot.variants.iter().map(|entry| Arc::new(entry.staled(now))).collect();
            Op::Put(Arc::new(Slot { label: slot.label.clone(), variants }))
        });
        match outcome {
            CompResult::ReplacedWith(entry) | CompResult::Inserted(entry) => entry.value().variants.len(),
            CompResult::Unchanged(_) | CompResult::StillNone(_) | CompResult::Removed(_) => 0,
        }
    }

    /// The selected slots, and those of their sibling pages.
    fn picked(&self, picks: impl Fn(&SlotLabel) -> bool) -> Vec<(Arc<PrimaryKey>, Arc<Slot>)> {
        let sets: HashSet<PrimaryKey> = self
            .slots
            .iter()
            .filter(|(_, slot)| picks(&slot.label) && slot.is_of_a_set())
            .map(|(_, slot)| slot.label.pages.clone())
            .collect();
        let is_sibling = |slot: &Slot| slot.is_of_a_set() && sets.contains(&slot.label.pages);
        self.slots.iter().filter(|(_, slot)| picks(&slot.label) || is_sibling(slot)).collect()
    }
}

impl Slot {
    fn is_of_a_set(&self) -> bool {
        self.variants.iter().any(|entry| entry.set().is_some())
    }
}
