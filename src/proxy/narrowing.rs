//! What is known of whether Talkdesk narrows to an account by `filter`.
//!
//! Were the filter ignored, an answer would tell an Instance about others even where it has none of their records: its
//! counts and links would be those of the whole Organization. So nothing is shown to an Instance on its Organization's
//! credential before Talkdesk was asked the same for an account that does not exist ([`probe`](super::probe)), once and
//! then daily, for each credential and [`Question`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rejection::Unproven;
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::Permit;

/// How long a proof holds.
pub(super) const PROVEN_FOR: Duration = Duration::from_hours(24);

/// A proof that is younger is not doubted, so that answers which always fail the account check do not have Talkdesk
/// asked again each time.
const NOT_DOUBTED_FOR: Duration = Duration::from_secs(10);

/// More questions than tools ask; clients choose their filters, so there has to be an end.
const MOST_QUESTIONS: usize = 512;

/// What is proven as one: a path, and the kind of filter that the Instance adds. A filter that Talkdesk does not
/// understand may make it ignore ours as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    endpoint: Arc<str>,
    path: Box<str>,
    /// The Instance's own filter without its values.
    own_filter: Option<Box<str>>,
}

/// What is known of one credential.
#[derive(Default)]
pub struct Narrowings(Mutex<HashMap<Question, Arc<Slot>>>);

/// What is known of one question.
pub(super) struct Slot {
    pub(super) narrowing: Narrowing,
    pub(super) has_own_filter: bool,
    state: Mutex<State>,
    /// Held while Talkdesk is asked, so that it is asked once.
    pub(super) probing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum State {
    #[default]
    Unknown,
    /// The account that does not exist was refused with 403, with the token of this number. Requests under way may prove
    /// what that means until then.
    Refused {
        token: u64,
        until: Instant,
    },
    Proven {
        until: Instant,
    },
    Unproven {
        reason: Arc<str>,
        retry_at: Instant,
    },
}

impl Narrowings {
    /// The endpoints that are known not to be narrowed, by their names.
    #[must_use]
    pub fn unproven(&self) -> Vec<Unproven> {
        let slots = self.slots();
        let unproven = slots.iter().filter(|(question, _)| question.own_filter.is_none());
        let unproven = unproven.filter_map(|(question, slot)| match &*slot.lock() {
            State::Unproven { reason, .. } => Some(slot.unproven(&question.endpoint, reason, Duration::ZERO)),
            State::Unknown | State::Refused { .. } | State::Proven { .. } => None,
        });
        let mut unproven: Vec<_> = unproven.collect();
        unproven.sort_by_key(|one| Arc::clone(&one.endpoint));
        unproven.dedup_by_key(|one| Arc::clone(&one.endpoint));
        unproven
    }

    /// An answer of an endpoint contradicts what is known of it. Says whether that is new.
    #[must_use]
    pub fn doubt(&self, endpoint: &str, now: Instant) -> bool {
        let mut is_new = false;
        for (_, slot) in self.slots().iter().filter(|(question, _)| *question.endpoint == *endpoint) {
            let mut state = slot.lock();
            if let State::Proven { until } = *state
                && now + PROVEN_FOR >= until + NOT_DOUBTED_FOR
            {
                *state = State::Unknown;
                is_new = true;
            }
        }
        is_new
    }

    /// Forgets everything: the credential is not quite the same any more.
    pub fn forget(&self) {
        self.slots().clear();
    }

    /// Forgets what is not asked any more: `still` says which narrowing an endpoint has now.
    pub fn retain(&self, still: impl Fn(&str) -> Option<Narrowing>) {
        self.slots().retain(|question, slot| still(&question.endpoint).as_ref() == Some(&slot.narrowing));
    }

    /// What is known of what a permitted request asks. A narrowing that is configured differently is another one.
    pub(super) fn slot(&self, permit: &Permit, narrowing: &Narrowing) -> Arc<Slot> {
        let question = Question {
            endpoint: Arc::clone(&permit.endpoint().name),
            path: permit.path().into(),
            own_filter: permit.own_filter().map(|filter| filter.shape().into()),
        };
        let mut slots = self.slots();
        if slots.len() >= MOST_QUESTIONS && !slots.contains_key(&question) {
            slots.clear();
        }
        let has_own_filter = question.own_filter.is_some();
        let slot = slots.entry(question).or_insert_with(|| Arc::new(Slot::new(narrowing, has_own_filter)));
        if slot.narrowing != *narrowing {
            *slot = Arc::new(Slot::new(narrowing, has_own_filter));
        }
        Arc::clone(slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Question, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(narrowing: &Narrowing, has_own_filter: bool) -> Self {
        Self {
            narrowing: narrowing.clone(),
            has_own_filter,
            state: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.lock().clone()
    }

    pub(super) fn set(&self, state: State) {
        *self.lock() = state;
    }

    /// Takes a refusal with this token for something else, unless it is not what is known any more.
    pub(super) fn settle_refusal(&self, refused: u64, settled: State) {
        let mut state = self.lock();
        if matches!(*state, State::Refused { token, .. } if token == refused) {
            *state = settled;
        }
    }

    pub(super) fn unproven(&self, endpoint: &Arc<str>, reason: &str, retry_in: Duration) -> Unproven {
        Unproven {
            endpoint: Arc::clone(endpoint),
            filter: self.narrowing.filter.as_str().into(),
            reason: reason.into(),
            retry_in,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
