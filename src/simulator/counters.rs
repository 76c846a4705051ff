//! Counts what arrives, for proofs about whoever calls: how many requests, for whom, when, and how many at once.
//!
//! Deliberately absent: labels from the caller's text. Accounts that do not exist count as `unknown`, paths that
//! are no endpoint as `other`, so that nobody can make the counters grow without end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use super::lock::lock;
use crate::clock::Now;

/// So many arrivals are remembered of each account.
const ARRIVALS: usize = 10_000;

/// All counters, as `GET /_simulator/counters` tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Of the token endpoint.
    pub tokens: TokenCounters,
    /// Of the API.
    pub api: ApiCounters,
}

/// Counters of the token endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenCounters {
    /// All requests.
    pub total: u64,
    /// By the account of the token URL.
    pub by_account: BTreeMap<String, u64>,
    /// By result: `issued`, the error code, `fault`, or `cancelled` where the caller left.
    pub by_result: BTreeMap<String, u64>,
    /// When they arrived, in milliseconds since the start, by account; the last 10,000.
    pub arrivals: BTreeMap<String, VecDeque<u64>>,
}

/// Counters of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiCounters {
    /// All requests.
    pub total: u64,
    /// By endpoint path, or `other`.
    pub by_path: BTreeMap<String, u64>,
    /// By the account of the token, expired or not, or `unknown`.
    pub by_account: BTreeMap<String, u64>,
    /// By status; `closed` where none was sent, `cancelled` where the caller left.
    pub by_status: BTreeMap<String, u64>,
    /// Requests with a token that had expired.
    pub expired_token: u64,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// The most that were being answered at once.
    pub peak_concurrent: u64,
    /// The same by account.
    pub peak_concurrent_by_account: BTreeMap<String, u64>,
    /// When they arrived, in milliseconds since the start, by account; the last 10,000.
    pub arrivals: BTreeMap<String, VecDeque<u64>>,
}

/// Where requests are counted.
pub(super) struct Tally {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: Counters,
    in_flight: BTreeMap<String, u64>,
}

/// A request that is being answered; one that is dropped unfinished counts as cancelled.
pub(super) struct Flight<'a> {
    tally: &'a Tally,
    kind: Kind,
    account: String,
    end: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Api,
}

impl Tally {
    pub(super) fn new(now: Now) -> Self {
        Self { start: now.monotonic, state: Mutex::default() }
    }

    /// The counters as they are now.
    pub(super) fn counters(&self) -> Counters {
        let state = lock(&self.state);
        let mut counters = state.counters.clone();
        counters.api.in_flight = state.in_flight.values().sum();
        counters
    }

    /// Gives what was counted, and sets everything to zero but what is being answered.
    pub(super) fn take(&self) -> Counters {
        std::mem::take(&mut lock(&self.state).counters)
    }

    /// Counts the arrival of a token request.
    pub(super) fn token_request(&self, account: &str, now: Now) -> Flight<'_> {
        let mut state = lock(&self.state);
        let tokens = &mut state.counters.tokens;
        tokens.total += 1;
        count(&mut tokens.by_account, account);
        arrive(&mut tokens.arrivals, account, self.offset(now));
        self.flight(Kind::Token, account)
    }

    /// Counts the arrival of an API request.
    pub(super) fn api_request(&self, path: &str, account: &str, expired: bool, now: Now) -> Flight<'_> {
        let mut state = lock(&self.state);
        let State { counters, in_flight } = &mut *state;
        let api = &mut counters.api;
        api.total += 1;
        api.expired_token += u64::from(expired);
        count(&mut api.by_path, path);
        count(&mut api.by_account, account);
        arrive(&mut api.arrivals, account, self.offset(now));
        count(in_flight, account);
        api.peak_concurrent = api.peak_concurrent.max(in_flight.values().sum());
        let mine = in_flight.get(account).copied().unwrap_or_default();
        let peak = api.peak_concurrent_by_account.entry(account.to_owned()).or_default();
        *peak = mine.max(*peak);
        self.flight(Kind::Api, account)
    }

    fn flight(&self, kind: Kind, account: &str) -> Flight<'_> {
        Flight { tally: self, kind, account: account.to_owned(), end: None }
    }

    fn offset(&self, now: Now) -> u64 {
        u64::try_from(now.since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Flight<'_> {
    /// The request was answered so.
    pub(super) fn finish(mut self, how: &str) {
        self.end = Some(how.to_owned());
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.tally.state);
        let State { counters, in_flight } = &mut *state;
        let how = self.end.as_deref().unwrap_or("cancelled");
        match self.kind {
            Kind::Token => count(&mut counters.tokens.by_result, how),
            Kind::Api => {
                count(&mut counters.api.by_status, how);
                if let Some(number) = in_flight.get_mut(&self.account) {
                    *number = number.saturating_sub(1);
                }
            }
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, label: &str) {
    match counts.get_mut(label) {
        Some(number) => *number += 1,
        None => {
            counts.insert(label.to_owned(), 1);
        }
    }
}

fn arrive(arrivals: &mut BTreeMap<String, VecDeque<u64>>, account: &str, offset: u64) {
    let mine = arrivals.entry(account.to_owned()).or_default();
    if mine.len() >= ARRIVALS {
        mine.pop_front();
    }
    mine.push_back(offset);
}
