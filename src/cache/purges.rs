//! What was purged lately, so that an answer that was asked for before does not bring it back.
//!
//! An answer notes how many purges there were when it was asked for. Where one came since that takes it, it is
//! not stored. A number decides and not the time: two events can have one time, but not one number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::PlaceLabel;
use crate::domain::credential::CredentialKey;
use crate::domain::id::AccountId;

/// Which entries a purge takes: those that all of its parts fit.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Fetched with this credential.
    pub credential: Option<CredentialKey>,
    /// Fetched for this account alone.
    pub account: Option<AccountId>,
    /// Of this endpoint, by its name.
    pub endpoint: Option<Arc<str>>,
    /// Path and query upstream begin so.
    pub path_prefix: String,
}

/// The purges so far.
#[derive(Default)]
pub(super) struct Purges {
    count: AtomicU64,
    /// The latest, each with its number.
    recent: Mutex<VecDeque<(u64, Selection)>>,
}

/// So many purges are remembered one by one. Of what was asked for before them it is not known any more whether it
/// was purged, so it is not stored.
const REMEMBERED: usize = 64;

impl Selection {
    /// Whether it takes what stands at a place.
    #[must_use]
    pub fn picks(&self, label: &PlaceLabel) -> bool {
        self.is_whose(label) && label.path_and_query().starts_with(&self.path_prefix)
    }

    /// Whether it takes what stands at a place, or could take a page of the same set.
    fn may_pick_sibling(&self, label: &PlaceLabel) -> bool {
        let path = self.path_prefix.split('?').next().unwrap_or_default();
        let is_whole = path.len() < self.path_prefix.len();
        let own = label.path_and_query().split('?').next().unwrap_or_default();
        self.is_whose(label) && if is_whole { own == path } else { own.starts_with(path) }
    }

    fn is_whose(&self, label: &PlaceLabel) -> bool {
        self.credential.as_ref().is_none_or(|credential| *credential == label.credential)
            && self.account.is_none_or(|account| label.account == Some(account))
            && self.endpoint.as_ref().is_none_or(|endpoint| *endpoint == label.endpoint)
    }
}

impl Purges {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Notes one. Answers that were asked for before are not stored from now on.
    pub(super) fn note(&self, selection: Selection) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.count() + 1;
        recent.push_back((number, selection));
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
        self.count.store(number, Ordering::SeqCst);
    }

    /// Whether a purge takes an answer that was asked for when there had been `since`.
    pub(super) fn took(&self, since: u64, label: &PlaceLabel) -> bool {
        if since == self.count() {
            return false;
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = recent.front().is_some_and(|(oldest, _)| *oldest <= since + 1);
        let mut later = recent.iter().filter(|(number, _)| *number > since);
        !is_known || later.any(|(_, selection)| selection.may_pick_sibling(label))
    }
}
