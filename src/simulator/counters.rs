//! Counts requests: how many, of which account, when, and how many at once.
//!
//! Labels never come from the caller's text: an account that does not exist counts as `unknown`, a path that is no
//! endpoint as `other`. So the number of counters is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use super::lock::lock;
use crate::clock::Now;

/// The number of arrivals kept of each account.
const ARRIVALS: usize = 10_000;

/// All counters, as `GET /_simulator/counters` shows them.
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

/// Counts requests.
pub(super) struct Recorder {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: Counters,
    in_flight: BTreeMap<String, u64>,
}

/// A request that is being answered. One that is dropped unfinished counts as cancelled.
pub(super) struct InFlight<'a> {
    recorder: &'a Recorder,
    kind: Kind,
    account: String,
    end: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Api,
}

impl Recorder {
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

    /// Returns the counters and sets them to zero. Requests in flight stay counted as such.
    pub(super) fn take(&self) -> Counters {
        std::mem::take(&mut lock(&self.state).counters)
    }

    /// Counts the arrival of a token request.
    pub(super) fn token_request(&self, account: &str, now: Now) -> InFlight<'_> {
        let mut state = lock(&self.state);
        let tokens = &mut state.counters.tokens;
        tokens.total += 1;
        count(&mut tokens.by_account, account);
        arrive(&mut tokens.arrivals, account, self.offset(now));
        self.begin(Kind::Token, account)
    }

    /// Counts the arrival of an API request.
    pub(super) fn api_request(&self, path: &str, account: &str, expired: bool, now: Now) -> InFlight<'_> {
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
        self.begin(Kind::Api, account)
    }

    fn begin(&self, kind: Kind, account: &str) -> InFlight<'_> {
        InFlight { recorder: self, kind, account: account.to_owned(), end: None }
    }

    fn offset(&self, now: Now) -> u64 {
        u64::try_from(now.since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

impl InFlight<'_> {
    /// The request has ended, with this status or result.
    pub(super) fn finish(mut self, result: &str) {
        self.end = Some(result.to_owned());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.recorder.state);
        let State { counters, in_flight } = &mut *state;
        let result = self.end.as_deref().unwrap_or("cancelled");
        match self.kind {
            Kind::Token => count(&mut counters.tokens.by_result, result),
            Kind::Api => {
                count(&mut counters.api.by_status, result);
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
