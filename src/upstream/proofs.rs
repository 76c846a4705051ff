//! Proofs that Talkdesk narrows to an account by `filter`.
//!
//! If Talkdesk ignored the filter, a response would disclose data about other Instances even without their records: its
//! counts and links would be those of the whole Organization. Therefore a probe (`probe.rs`) must prove that Talkdesk
//! narrows before a fetch for an Instance on its Organization's credential. A proof is valid for 24 hours, for one
//! credential, path and shape of the client's filter. Entries that are still fresh are served without a new proof; a
//! disproof removes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::Permit;
use crate::problem::Unproven;

pub(crate) const PROVEN_FOR: Duration = Duration::from_hours(24);

/// Younger proofs are kept after an account mismatch, so that repeated mismatches do not cause a probe each.
const NO_RECHECK_FOR: Duration = Duration::from_secs(10);

/// Clients choose their filters, so the number of proofs is bounded; beyond it all are discarded.
const MAX_PROOFS: usize = 512;

/// The scope of one proof. The shape of the client's filter matters because Talkdesk may ignore the whole filter if it
/// does not understand a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProofKey {
    endpoint: Arc<str>,
    path: Box<str>,
    /// The shape of the client's filter, if it sent one.
    client_filter: Option<Box<str>>,
}

/// The proofs of one credential.
#[derive(Default)]
pub struct NarrowingProofs(Mutex<HashMap<ProofKey, Arc<ProofSlot>>>);

/// The state of one proof.
pub(crate) struct ProofSlot {
    pub(crate) narrowing: Narrowing,
    pub(crate) has_client_filter: bool,
    state: Mutex<ProofState>,
    /// Held during a probe, so that only one runs at a time.
    pub(crate) probing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum ProofState {
    #[default]
    Unknown,
    /// The probe got 403 with the token of this number. Until `until`, a request that succeeds with it completes the proof.
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

impl NarrowingProofs {
    /// The endpoints that `upstream.account_filter` does not narrow, by their names. Disproofs of a client's filter are left
    /// out: they say nothing about the configuration.
    #[must_use]
    pub fn unproven(&self) -> Vec<Unproven> {
        let slots = self.slots();
        let unproven = slots.iter().filter(|(key, _)| key.client_filter.is_none());
        let unproven = unproven.filter_map(|(key, slot)| match &*slot.lock() {
            ProofState::Unproven { reason, .. } => Some(slot.unproven(&key.endpoint, reason, Duration::ZERO)),
            ProofState::Unknown | ProofState::Refused { .. } | ProofState::Proven { .. } => None,
        });
        let mut unproven: Vec<_> = unproven.collect();
        unproven.sort_by_key(|one| Arc::clone(&one.endpoint));
        unproven.dedup_by_key(|one| Arc::clone(&one.endpoint));
        unproven
    }

    /// Discards the proofs of an endpoint after an account mismatch, unless they are younger than `NO_RECHECK_FOR`.
    /// Returns whether any was discarded.
    #[must_use]
    pub fn invalidate(&self, endpoint: &str, now: Instant) -> bool {
        let mut is_new = false;
        for (_, slot) in self.slots().iter().filter(|(key, _)| *key.endpoint == *endpoint) {
            let mut state = slot.lock();
            if let ProofState::Proven { until } = *state
                && now + PROVEN_FOR >= until + NO_RECHECK_FOR
            {
                *state = ProofState::Unknown;
                is_new = true;
            }
        }
        is_new
    }

    /// Discards all proofs, after a change of the secret.
    pub fn forget(&self) {
        self.slots().clear();
    }

    /// Keeps the proofs whose endpoint still has the same `Narrowing`, which `current` returns.
    pub fn retain(&self, current: impl Fn(&str) -> Option<Narrowing>) {
        self.slots().retain(|key, slot| current(&key.endpoint).as_ref() == Some(&slot.narrowing));
    }

    /// The slot for a permitted request. A changed narrowing starts a new one.
    pub(crate) fn slot(&self, permit: &Permit, narrowing: &Narrowing) -> Arc<ProofSlot> {
        let key = ProofKey {
            endpoint: Arc::clone(&permit.endpoint().name),
            path: permit.path().into(),
            client_filter: permit.client_filter().map(|filter| filter.shape().into()),
        };
        let mut slots = self.slots();
        if slots.len() >= MAX_PROOFS && !slots.contains_key(&key) {
            slots.clear();
        }
        let has_client_filter = key.client_filter.is_some();
        let slot = slots.entry(key).or_insert_with(|| Arc::new(ProofSlot::new(narrowing, has_client_filter)));
        if slot.narrowing != *narrowing {
            *slot = Arc::new(ProofSlot::new(narrowing, has_client_filter));
        }
        Arc::clone(slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ProofKey, Arc<ProofSlot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProofSlot {
    fn new(narrowing: &Narrowing, has_client_filter: bool) -> Self {
        Self {
            narrowing: narrowing.clone(),
            has_client_filter,
            state: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> ProofState {
        self.lock().clone()
    }

    /// Sets the state and returns the previous one.
    pub(crate) fn set(&self, state: ProofState) -> ProofState {
        std::mem::replace(&mut *self.lock(), state)
    }

    /// Replaces `Refused` with `settled`, if it is still the state for this token.
    pub(crate) fn resolve_refusal(&self, refused: u64, settled: ProofState) {
        let mut state = self.lock();
        if matches!(*state, ProofState::Refused { token, .. } if token == refused) {
            *state = settled;
        }
    }

    pub(crate) fn unproven(&self, endpoint: &Arc<str>, reason: &str, retry_in: Duration) -> Unproven {
        Unproven {
            endpoint: Arc::clone(endpoint),
            filter: self.narrowing.filter.as_str().into(),
            has_client_filter: self.has_client_filter,
            reason: reason.into(),
            retry_in,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ProofState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
