//! The state of a running simulator: what it was started with, its credentials, tokens, rate limits and counters, and
//! the faults and quirks that a test has set.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::counters::Recorder;
use super::credentials::Credentials;
use super::faults::Fault;
use super::options::{Options, Quirks, RateLimit};
use super::tenants::{Endpoint, Tenant};
use crate::clock::{Clock, Now};

/// Above this number of tokens, those that expired long ago are dropped.
const MANY_TOKENS: usize = 10_000;
/// The time for which an expired token is kept, so that the API can answer that it has expired.
const EXPIRED_TOKEN_KEPT: Duration = Duration::from_hours(1);

/// The state of a running simulator. A tenant is identified by its position in the options.
pub(super) struct SimulatorState {
    pub(super) options: Options,
    /// The base of all URLs in answers.
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) credentials: Mutex<Credentials>,
    pub(super) tokens: Mutex<Tokens>,
    /// The `jti` values of the assertions that were used, and when these assertions expire.
    pub(super) used_assertion_ids: Mutex<HashMap<String, SystemTime>>,
    pub(super) recorder: Mutex<Recorder>,
    /// The faults that have not happened yet, the oldest first.
    pub(super) faults: Mutex<Vec<Fault>>,
    pub(super) rate_limits: Mutex<RateLimits>,
    /// The number of invoice pages that each tenant has read.
    invoice_pages: Mutex<HashMap<usize, u64>>,
    quirks: Mutex<Quirks>,
}

/// Locks a mutex. A panic does not leave a value incomplete, so a poisoned mutex is used like any other.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatorState {
    /// The state at start.
    pub(super) fn new(options: Options, url: String, clock: Clock) -> Result<Self, rcgen::Error> {
        Ok(Self {
            credentials: Mutex::new(Credentials::generate(&options.tenants)?),
            tokens: Mutex::default(),
            used_assertion_ids: Mutex::default(),
            recorder: Mutex::new(Recorder::new(clock.now())),
            faults: Mutex::default(),
            rate_limits: Mutex::default(),
            invoice_pages: Mutex::default(),
            quirks: Mutex::new(options.quirks.clone()),
            options,
            url,
            clock,
        })
    }

    /// The tenant with this account, and its position.
    pub(super) fn tenant(&self, account: &str) -> Option<(usize, &Tenant)> {
        self.options.tenants.iter().enumerate().find(|(_, tenant)| tenant.account == account)
    }

    pub(super) fn token_url(&self, account: &str) -> String {
        format!("{}/{account}/oauth/token", self.url)
    }

    pub(super) fn quirks(&self) -> Quirks {
        lock(&self.quirks).clone()
    }

    pub(super) fn set_quirks(&self, quirks: Quirks) {
        *lock(&self.quirks) = quirks;
    }

    /// Counts an invoice page of a tenant. Returns the number of pages before it.
    pub(super) fn count_invoice_page(&self, tenant: usize) -> u64 {
        let mut pages = lock(&self.invoice_pages);
        let count = pages.entry(tenant).or_default();
        *count += 1;
        *count - 1
    }

    /// Counts a token request.
    pub(super) fn token_request(&self, account: &str) -> RequestInProgress<'_> {
        lock(&self.recorder).token_request(account, self.clock.now());
        RequestInProgress { recorder: &self.recorder, api_account: None, result: "cancelled".to_owned() }
    }

    /// Counts an API request.
    pub(super) fn api_request(&self, path: &str, account: &str, is_expired: bool) -> RequestInProgress<'_> {
        lock(&self.recorder).api_request(path, account, is_expired, self.clock.now());
        let api_account = Some(account.to_owned());
        RequestInProgress { recorder: &self.recorder, api_account, result: "cancelled".to_owned() }
    }
}

/// A request that was counted and has no result yet. If it is dropped before [`RequestInProgress::finish`], because
/// the client closed the connection, its result is `cancelled`.
pub(super) struct RequestInProgress<'a> {
    recorder: &'a Mutex<Recorder>,
    /// The account of an API request. Token requests have none.
    api_account: Option<String>,
    result: String,
}

impl RequestInProgress<'_> {
    /// Ends the request with this status or result.
    pub(super) fn finish(mut self, result: &str) {
        result.clone_into(&mut self.result);
    }
}

impl Drop for RequestInProgress<'_> {
    fn drop(&mut self) {
        let mut recorder = lock(self.recorder);
        match &self.api_account {
            Some(account) => recorder.api_result(account, &self.result),
            None => recorder.token_result(&self.result),
        }
    }
}

/// The rate limits of the clients, by tenant.
#[derive(Default)]
pub(super) struct RateLimits {
    /// The time at which the client would have sent its requests so far at the steady rate.
    due_at: HashMap<usize, Instant>,
}

impl RateLimits {
    /// Admits a request. The error is the time to wait.
    pub(super) fn admit(&mut self, limit: RateLimit, client: usize, now: Now) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / limit.per_second.max(1);
        let allowance = interval * limit.burst.saturating_sub(1);
        let due = self.due_at.entry(client).or_insert(now.monotonic);
        let debt = now.until(*due);
        if debt > allowance {
            return Err(debt.saturating_sub(allowance));
        }
        *due = now.after(debt + interval);
        Ok(())
    }
}

/// The tokens that were issued.
#[derive(Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Grant>,
}

/// What a token permits.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) tenant: usize,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) expires: Instant,
    pub(super) revoked: bool,
}

impl Grant {
    pub(super) fn is_expired(&self, now: Now) -> bool {
        !self.revoked && self.expires <= now.monotonic
    }
}

impl Tokens {
    pub(super) fn insert(&mut self, token: String, grant: Grant, now: Now) {
        if self.issued.len() >= MANY_TOKENS {
            self.issued.retain(|_, grant| now.since(grant.expires) < EXPIRED_TOKEN_KEPT);
        }
        self.issued.insert(token, grant);
    }

    pub(super) fn grant(&self, token: &str) -> Option<Grant> {
        self.issued.get(token).cloned()
    }

    /// Revokes the tokens issued so far: those of a tenant, or all.
    pub(super) fn revoke(&mut self, tenant: Option<usize>) {
        for grant in
            self.issued.values_mut().filter(|grant| tenant.is_none_or(|tenant| tenant == grant.tenant))
        {
            grant.revoked = true;
        }
    }
}

/// The token in the `Authorization: Bearer` field. A request with two such fields has no token.
pub(super) fn bearer_token(fields: &HeaderMap) -> Option<&str> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
