//! Recent purges, so that a response that was requested before a purge is not stored after it.
//!
//! A response records the number of purges at its request. If a later purge covers it, it is not stored. The
//! order is decided by a counter and not by time, because two events can have the same time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::label::SlotLabel;
use crate::domain::credential::CredentialKey;
use crate::domain::id::AccountId;

/// The entries that a purge covers: those that match all parts.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Fetched with this credential.
    pub credential: Option<CredentialKey>,
    /// Fetched for this account only.
    pub account: Option<AccountId>,
    /// The endpoint's name.
    pub endpoint: Option<Arc<str>>,
    /// The prefix of the path and query upstream; empty: any.
    pub path_prefix: String,
}

/// The purges so far.
#[derive(Default)]
pub(super) struct Purges {
    count: AtomicU64,
    /// The most recent purges, with their numbers.
    recent: Mutex<VecDeque<(u64, Selection)>>,
}

/// The number of purges that are remembered individually. A response that was requested before a forgotten
/// one is not stored, because it may have been purged.
const REMEMBERED: usize = 64;

impl Selection {
    /// Whether the selection covers a slot.
    #[must_use]
    pub fn picks(&self, label: &SlotLabel) -> bool {
        self.is_whose(label) && label.path_and_query().starts_with(&self.path_prefix)
    }

    /// Whether the selection covers a slot, or may cover another page of its set.
    fn may_pick_sibling(&self, label: &SlotLabel) -> bool {
        let path = self.path_prefix.split('?').next().unwrap_or_default();
        let is_whole = path.len() < self.path_prefix.len();
        let own = label.path_and_query().split('?').next().unwrap_or_default();
        self.is_whose(label) && if is_whole { own == path } else { own.starts_with(path) }
    }

    fn is_whose(&self, label: &SlotLabel) -> bool {
        self.credential.as_ref().is_none_or(|credential| *credential == label.credential)
            && self.account.is_none_or(|account| label.account == Some(account))
            && self.endpoint.as_ref().is_none_or(|endpoint| *endpoint == label.endpoint)
    }
}

impl Purges {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Records a purge. Responses that it covers and that were requested earlier are not stored from now on.
    pub(super) fn record(&self, selection: Selection) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.count() + 1;
        recent.push_back((number, selection));
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
        self.count.store(number, Ordering::SeqCst);
    }

    /// Whether a purge after number `since` covers a slot, or may have covered it.
    pub(super) fn covers(&self, since: u64, label: &SlotLabel) -> bool {
        if since == self.count() {
            return false;
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = recent.front().is_some_and(|(oldest, _)| *oldest <= since + 1);
        let mut later = recent.iter().filter(|(number, _)| *number > since);
        !is_known || later.any(|(_, selection)| selection.may_pick_sibling(label))
    }
}
