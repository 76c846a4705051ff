//! URLs that changed while responses for them were in flight: an unsafe method changed the URL, or the
//! requester lost access to what is stored there.
//!
//! A response records the number of changes at the time of its request. If its URL changed since, the
//! response may show the earlier state: it is not stored, and requests that arrive after the change do not
//! wait for it. As for purges, the order is decided by a counter and not by time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

use crate::domain::credential::CredentialKey;

/// The changes so far.
#[derive(Default)]
pub(super) struct Changes {
    count: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The latest change of each remembered URL.
    latest: HashMap<Url, u64, RandomState>,
    /// All remembered changes, the oldest first.
    in_order: VecDeque<(u64, Url)>,
    /// The number of the latest change that is no longer remembered.
    forgotten: u64,
}

/// The credential, and the path and query upstream.
type Url = (CredentialKey, Arc<str>);

/// The number of changes that are remembered individually. A response that was requested before a forgotten
/// change is not stored, because its URL may be the one that changed.
const REMEMBERED: usize = 1024;

impl Changes {
    /// The number of changes so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Records a change.
    pub(super) fn note(&self, credential: &CredentialKey, path_and_query: &str) {
        let url = (credential.clone(), Arc::from(path_and_query));
        let mut state = self.state();
        let number = self.count() + 1;
        state.latest.insert(Url::clone(&url), number);
        state.in_order.push_back((number, url));
        if state.in_order.len() > REMEMBERED
            && let Some((oldest, url)) = state.in_order.pop_front()
        {
            if state.latest.get(&url) == Some(&oldest) {
                state.latest.remove(&url);
            }
            state.forgotten = oldest;
        }
        self.count.store(number, Ordering::SeqCst);
    }

    /// The number of the latest remembered change of a URL.
    pub(super) fn latest(&self, credential: &CredentialKey, path_and_query: &str) -> Option<u64> {
        if self.count() == 0 {
            return None;
        }
        self.state().latest.get(&(credential.clone(), Arc::from(path_and_query))).copied()
    }

    /// Whether a URL changed, or may have changed, after change number `since`.
    pub(super) fn took(&self, since: u64, credential: &CredentialKey, path_and_query: &str) -> bool {
        if since == self.count() {
            return false;
        }
        let state = self.state();
        let latest = state.latest.get(&(credential.clone(), Arc::from(path_and_query)));
        state.forgotten > since || latest.is_some_and(|latest| *latest > since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_takes_what_was_asked_for_before_it_and_more_than_are_remembered_take_everything() {
        let changes = Changes::default();
        let credential = CredentialKey::new("t", "a", &"c".parse().expect("client id"), None, None);
        let other = CredentialKey::new("t", "a", &"d".parse().expect("client id"), None, None);
        let url = |number: usize| Arc::<str>::from(format!("/reports/{number}"));
        changes.note(&credential, "/reports/0");
        assert!(changes.took(0, &credential, &url(0)));
        assert!(!changes.took(1, &credential, &url(0)), "it was asked for afterwards");
        assert!(!changes.took(0, &credential, &url(1)) && !changes.took(0, &other, &url(0)));
        assert_eq!((changes.latest(&credential, &url(0)), changes.latest(&other, &url(0))), (Some(1), None));
        for number in 1..=REMEMBERED {
            changes.note(&credential, &url(number));
        }
        assert!(changes.took(0, &other, &url(0)), "nobody knows any more");
        assert!(!changes.took(1, &other, &url(0)));
        assert_eq!(changes.state().latest.len(), REMEMBERED);
    }
}
