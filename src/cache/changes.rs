//! What changed upstream while answers were on their way: a URL was changed by an unsafe method, or whoever asks is not
//! to see any more what is there.
//!
//! An answer notes how many changes there were when it was asked for. Where its URL changed since, it may show what
//! was before, and is not stored; and nobody who asks after the change waits for it. As for purges, a number decides
//! and not the time.

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
    /// The latest change of each URL that is remembered.
    latest: HashMap<Url, u64, RandomState>,
    /// All that are remembered, the oldest first.
    in_order: VecDeque<(u64, Url)>,
    /// The latest that is not remembered any more.
    forgotten: u64,
}

/// With which credential, and path and query upstream.
type Url = (CredentialKey, Arc<str>);

/// So many changes are remembered one by one. What was asked for before those that are not may be of a URL that
/// changed, so it is not stored.
const REMEMBERED: usize = 1024;

impl Changes {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Notes one.
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

    /// The latest change of a URL, where one is remembered.
    pub(super) fn latest(&self, credential: &CredentialKey, path_and_query: &str) -> Option<u64> {
        if self.count() == 0 {
            return None;
        }
        self.state().latest.get(&(credential.clone(), Arc::from(path_and_query))).copied()
    }

    /// Whether a URL changed, or may have, after there had been `since` changes.
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
