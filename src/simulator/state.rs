//! The state that the parts of a running simulator share: its tokens, the API's rate limit, and the number of pages
//! answered.

use std::collections::HashMap;
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use uuid::Uuid;

use super::counters::Recorder;
use super::credentials::{AssertionIds, Credentials};
use super::faults::Faults;
use super::lock::{lock, read, write};
use super::options::{Options, Quirks, RateLimit};
use super::tenants::{Scope, Tenant};
use crate::clock::{Clock, Now};

/// Above this number of tokens, those that expired long ago are dropped.
const MANY: usize = 10_000;
/// How long an expired token is kept, to answer that it has expired.
const KEPT: Duration = Duration::from_hours(1);

/// The state of a running simulator.
pub(super) struct State {
    pub(super) options: Options,
    /// The base of all URLs in answers.
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) credentials: Credentials,
    pub(super) tokens: Tokens,
    pub(super) assertions: AssertionIds,
    pub(super) recorder: Recorder,
    pub(super) faults: Faults,
    pub(super) limits: RateLimits,
    pub(super) invoice_pages: PageCounts,
    quirks: RwLock<Quirks>,
    positions: HashMap<String, usize>,
}

impl State {
    /// The state at start.
    pub(super) fn new(options: Options, url: String, clock: Clock) -> Result<Self, rcgen::Error> {
        let names = options.tenants.iter().enumerate();
        Ok(Self {
            credentials: Credentials::generate(&options.tenants)?,
            tokens: Tokens::default(),
            assertions: AssertionIds::default(),
            recorder: Recorder::new(clock.now()),
            faults: Faults::default(),
            limits: RateLimits::default(),
            invoice_pages: PageCounts::default(),
            quirks: RwLock::new(options.quirks.clone()),
            positions: names.map(|(position, tenant)| (tenant.account.clone(), position)).collect(),
            options,
            url,
            clock,
        })
    }

    /// The tenant whose account has this name, and its position in the options.
    pub(super) fn tenant(&self, account: &str) -> Option<(usize, &Tenant)> {
        let position = *self.positions.get(account)?;
        Some((position, self.options.tenants.get(position)?))
    }

    pub(super) fn token_url(&self, account: &str) -> String {
        format!("{}/{account}/oauth/token", self.url)
    }

    pub(super) fn quirks(&self) -> Quirks {
        read(&self.quirks).clone()
    }

    pub(super) fn set_quirks(&self, quirks: Quirks) {
        *write(&self.quirks) = quirks;
    }
}

/// The rate limit of each client, by the position of its tenant.
#[derive(Default)]
pub(super) struct RateLimits {
    /// When the requests of a client so far would have arrived at the steady rate.
    due_at: Mutex<HashMap<usize, Instant>>,
}

impl RateLimits {
    /// Admits a request, or says how long to wait.
    pub(super) fn admit(&self, limit: RateLimit, client: usize, now: Now) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / limit.per_second.max(1);
        let allowance = interval * limit.burst.saturating_sub(1);
        let mut due_at = lock(&self.due_at);
        let due = due_at.entry(client).or_insert(now.monotonic);
        let debt = now.until(*due);
        if debt > allowance {
            return Err(debt.saturating_sub(allowance));
        }
        *due = now.after(debt + interval);
        Ok(())
    }
}

/// The number of invoice pages that each tenant has been given. All callers of a tenant count together.
#[derive(Default)]
pub(super) struct PageCounts {
    pages: Mutex<HashMap<usize, u64>>,
}

impl PageCounts {
    /// Counts a page and returns the number of pages before it.
    pub(super) fn increment(&self, tenant: usize) -> u64 {
        let mut pages = lock(&self.pages);
        let count = pages.entry(tenant).or_default();
        *count += 1;
        *count - 1
    }
}

/// All tokens that were issued.
#[derive(Default)]
pub(super) struct Tokens {
    issued: Mutex<HashMap<String, Grant>>,
}

/// What a token allows.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// The position of the tenant in the options.
    pub(super) tenant: usize,
    pub(super) scopes: Vec<Scope>,
    expires: Instant,
    revoked: bool,
}

/// What is known of the token of a request.
#[derive(Clone, Debug)]
pub(super) enum TokenState {
    Missing,
    Unknown,
    Expired(Grant),
    Revoked(Grant),
    Valid(Grant),
}

impl Tokens {
    /// Issues a token.
    pub(super) fn issue(
        &self,
        tenant: usize,
        scopes: Vec<Scope>,
        expires: Instant,
        long: bool,
        now: Now,
    ) -> String {
        let token = new_token(long);
        let mut issued = lock(&self.issued);
        if issued.len() >= MANY {
            issued.retain(|_, grant| now.since(grant.expires) < KEPT);
        }
        issued.insert(token.clone(), Grant { tenant, scopes, expires, revoked: false });
        token
    }

    /// What is known of the token in a request.
    pub(super) fn look_up(&self, token: Option<&str>, now: Now) -> TokenState {
        let Some(token) = token else { return TokenState::Missing };
        match lock(&self.issued).get(token).cloned() {
            None => TokenState::Unknown,
            Some(grant) if grant.revoked => TokenState::Revoked(grant),
            Some(grant) if grant.expires <= now.monotonic => TokenState::Expired(grant),
            Some(grant) => TokenState::Valid(grant),
        }
    }

    /// Revokes the tokens issued so far: a tenant's, or all.
    pub(super) fn revoke(&self, tenant: Option<usize>) {
        let mut issued = lock(&self.issued);
        for grant in issued.values_mut().filter(|grant| tenant.is_none_or(|tenant| tenant == grant.tenant)) {
            grant.revoked = true;
        }
    }
}

impl TokenState {
    /// What the token allows, or allowed.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Missing | Self::Unknown => None,
            Self::Expired(grant) | Self::Revoked(grant) | Self::Valid(grant) => Some(grant),
        }
    }

    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::Expired(_))
    }
}

/// A random token: 64 hex digits, or three parts of base64url like a JWT of about 3 KiB.
fn new_token(long: bool) -> String {
    let random = |count: usize| (0..count).flat_map(|_| Uuid::new_v4().into_bytes()).collect::<Vec<u8>>();
    if long {
        return [5, 123, 16].map(|count| URL_SAFE_NO_PAD.encode(random(count))).join(".");
    }
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The token of the `Authorization: Bearer` field. Anything else, two such fields included, is no token.
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
