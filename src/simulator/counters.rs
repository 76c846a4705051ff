//! Counts requests by account, path, status and result, with their arrival times and their concurrency.
//!
//! The number of counters is bounded, because no label comes from the text of a request. An unknown account counts as
//! `unknown`, and a path that is not an endpoint counts as `other`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde::Serialize;

use crate::clock::Now;

/// The number of arrival times that are kept for each account.
const MAX_ARRIVALS: usize = 10_000;

/// All counters, in the form that `GET /_simulator/counters` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The counters of the token endpoint.
    pub tokens: TokenCounters,
    /// The counters of the API.
    pub api: ApiCounters,
}

/// Counters of the token endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenCounters {
    /// All requests.
    pub total: u64,
    /// Requests by the account in the token URL.
    pub by_account: BTreeMap<String, u64>,
    /// Requests by result: `issued`, the error code, `fault`, or `cancelled` if the client closed the connection.
    pub by_result: BTreeMap<String, u64>,
    /// The arrival times of the last 10,000 requests of each account, in milliseconds since the start.
    pub arrivals: BTreeMap<String, VecDeque<u64>>,
}

/// Counters of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiCounters {
    /// All requests.
    pub total: u64,
    /// Requests by the path of the endpoint, or `other`.
    pub by_path: BTreeMap<String, u64>,
    /// Requests by the account of the token, even if the token has expired, or `unknown`.
    pub by_account: BTreeMap<String, u64>,
    /// Requests by status. `closed` means that a fault closed the connection, and `cancelled` that the client did.
    pub by_status: BTreeMap<String, u64>,
    /// Requests with an expired token.
    pub expired_token: u64,
    /// Requests in progress.
    pub in_flight: u64,
    /// The largest number of requests in progress at the same time.
    pub peak_concurrent: u64,
    /// The largest number of requests in progress at the same time, by account.
    pub peak_concurrent_by_account: BTreeMap<String, u64>,
    /// The arrival times of the last 10,000 requests of each account, in milliseconds since the start.
    pub arrivals: BTreeMap<String, VecDeque<u64>>,
}

/// Counts requests.
pub(super) struct Recorder {
    start: Instant,
    counters: Counters,
    /// The API requests in progress, by account.
    in_flight: BTreeMap<String, u64>,
}

impl Recorder {
    pub(super) fn new(now: Now) -> Self {
        Self { start: now.monotonic, counters: Counters::default(), in_flight: BTreeMap::new() }
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.api.in_flight = self.in_flight.values().sum();
        counters
    }

    /// Returns the counters and sets them to zero. Requests in progress still count as such.
    pub(super) fn take(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    pub(super) fn token_request(&mut self, account: &str, now: Now) {
        let offset = self.offset(now);
        let tokens = &mut self.counters.tokens;
        tokens.total += 1;
        count(&mut tokens.by_account, account);
        record_arrival(&mut tokens.arrivals, account, offset);
    }

    pub(super) fn token_result(&mut self, result: &str) {
        count(&mut self.counters.tokens.by_result, result);
    }

    pub(super) fn api_request(&mut self, path: &str, account: &str, is_expired: bool, now: Now) {
        let offset = self.offset(now);
        let api = &mut self.counters.api;
        api.total += 1;
        api.expired_token += u64::from(is_expired);
        count(&mut api.by_path, path);
        count(&mut api.by_account, account);
        record_arrival(&mut api.arrivals, account, offset);
        let of_account = count(&mut self.in_flight, account);
        api.peak_concurrent = api.peak_concurrent.max(self.in_flight.values().sum());
        let peak = api.peak_concurrent_by_account.entry(account.to_owned()).or_default();
        *peak = of_account.max(*peak);
    }

    pub(super) fn api_result(&mut self, account: &str, status: &str) {
        count(&mut self.counters.api.by_status, status);
        if let Some(number) = self.in_flight.get_mut(account) {
            *number = number.saturating_sub(1);
        }
    }

    fn offset(&self, now: Now) -> u64 {
        u64::try_from(now.since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Adds one to a counter and returns it.
fn count(counts: &mut BTreeMap<String, u64>, label: &str) -> u64 {
    let number = counts.entry(label.to_owned()).or_default();
    *number += 1;
    *number
}

fn record_arrival(arrivals: &mut BTreeMap<String, VecDeque<u64>>, account: &str, offset: u64) {
    let times = arrivals.entry(account.to_owned()).or_default();
    if times.len() >= MAX_ARRIVALS {
        times.pop_front();
    }
    times.push_back(offset);
}
