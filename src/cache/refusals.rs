//! URLs whose stored responses were removed because Talkdesk refused access (403, 404, 410 or a second 401).
//!
//! A fetch that was sent before the refusal may still return an earlier state: its response is not stored, and requests that
//! arrive after the refusal do not wait for it. As for purges, a counter decides the order and not the time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

use crate::domain::credential::CredentialKey;

/// The refusals so far.
#[derive(Default)]
pub(super) struct Refusals {
    count: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The latest refusal of each remembered URL.
    latest: HashMap<Url, u64, RandomState>,
    /// All remembered refusals, the oldest first.
    in_order: VecDeque<(u64, Url)>,
    /// The number of the latest refusal that is no longer remembered.
    forgotten: u64,
}

/// The credential, and the path and query upstream.
type Url = (CredentialKey, Arc<str>);

/// The number of refusals that are remembered individually. A response that was requested before a forgotten one is not
/// stored, because its URL may be the one that was refused.
const REMEMBERED: usize = 1024;

impl Refusals {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn record(&self, credential: &CredentialKey, path_and_query: &str) {
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

    /// The number of the latest remembered refusal of a URL.
    pub(super) fn latest(&self, credential: &CredentialKey, path_and_query: &str) -> Option<u64> {
        if self.count() == 0 {
            return None;
        }
        self.state().latest.get(&(credential.clone(), Arc::from(path_and_query))).copied()
    }

    /// Whether a URL was refused, or may have been, after refusal number `since`.
    pub(super) fn covers(&self, since: u64, credential: &CredentialKey, path_and_query: &str) -> bool {
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
    fn a_refusal_covers_requests_before_it_and_too_many_to_remember_cover_all() {
        let refusals = Refusals::default();
        let credential = CredentialKey::new("t", "a", &"c".parse().expect("client id"), None, None);
        let other = CredentialKey::new("t", "a", &"d".parse().expect("client id"), None, None);
        let url = |number: usize| Arc::<str>::from(format!("/reports/{number}"));
        refusals.record(&credential, "/reports/0");
        assert!(refusals.covers(0, &credential, &url(0)));
        assert!(!refusals.covers(1, &credential, &url(0)), "it was requested afterwards");
        assert!(!refusals.covers(0, &credential, &url(1)) && !refusals.covers(0, &other, &url(0)));
        assert_eq!(
            (refusals.latest(&credential, &url(0)), refusals.latest(&other, &url(0))),
            (Some(1), None)
        );
        for number in 1..=REMEMBERED {
            refusals.record(&credential, &url(number));
        }
        assert!(refusals.covers(0, &other, &url(0)), "it is not remembered any more");
        assert!(!refusals.covers(1, &other, &url(0)));
        assert_eq!(refusals.state().latest.len(), REMEMBERED);
    }
}
