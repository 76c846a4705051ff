//! What is known about a request when it is answered: for the log, the metrics, and the fields that every answer carries.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::fetch_result::{Answer, Content};
use super::headers::{CacheStatus, RateState};
use super::mentions::Mentions;
use super::routes::{DeadEnd, Route};
use crate::audit::What;
use crate::domain::credential::Credential;
use crate::domain::tenant::Tenant;
use crate::metrics::{CacheResult, TenantMetrics, TenantOutcome};
use crate::oauth::token_use::TokenUse;
use crate::request_id::RequestId;

/// One request, on its way.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct RequestLog {
    /// Its name: the client's, if it sent a sane one.
    pub request_id: RequestId,
    /// Which fields it has.
    pub mentions: Mentions,
    /// Who it is for, once that is known.
    pub tenant: Option<Arc<Tenant>>,
    /// The credential that it may be made with, once that is decided.
    pub credential: Option<Arc<Credential>>,
    /// Whether there are too many requests in flight for this one to wait for anything.
    pub overloaded: bool,
    /// Whether its path names no tenant.
    pub bare: bool,
    /// Whether it has a body that was not read to its end.
    pub unread_body: bool,
    /// The place of its endpoint in the closed list.
    pub endpoint: Option<usize>,
    /// What to say of the cache, where it was asked.
    pub status: Option<CacheStatus>,
    /// What the cache did.
    pub result: CacheResult,
    /// How the credential stands.
    pub rate: Option<RateState>,
    /// How long upstream took.
    pub upstream: Duration,
    /// How long the limit was waited for.
    pub waited: Duration,
    /// How the token was come by that it was sent with.
    pub token: Option<TokenUse>,
    /// The name of why it was refused, or of why its answer was not stored.
    pub reason: Option<&'static str>,
    /// How it ended for its tenant.
    pub outcome: TenantOutcome,
    /// The series of its tenant, once its route is known.
    pub counted: Option<Arc<TenantMetrics>>,
    /// Whether there is a log that it will stand in.
    pub is_written_down: bool,
    /// Talkdesk's name for the request, where it is written down.
    pub upstream_request_id: Option<Arc<str>>,
}

impl RequestLog {
    /// A request of which only its fields are known.
    #[must_use]
    pub fn new(fields: &HeaderMap) -> Self {
        let mentions = Mentions::of(fields);
        Self {
            request_id: if mentions.request_id { RequestId::of(fields) } else { RequestId::random() },
            mentions,
            tenant: None,
            credential: None,
            overloaded: false,
            bare: false,
            unread_body: false,
            endpoint: None,
            status: None,
            result: CacheResult::NotAsked,
            rate: None,
            upstream: Duration::ZERO,
            waited: Duration::ZERO,
            token: None,
            reason: None,
            outcome: TenantOutcome::Error,
            counted: None,
            is_written_down: false,
            upstream_request_id: None,
        }
    }

    /// What the audit log says of it, with the status of its answer; nothing of what is not about data.
    #[must_use]
    pub fn audited(&self, endpoint: Option<Arc<str>>, status: StatusCode) -> Option<What> {
        let denied_by = self.reason.filter(|_| self.outcome == TenantOutcome::Denied);
        if denied_by.is_none() && self.credential.is_none() {
            return None;
        }
        Some(What::Request {
            denied_by,
            tenant: self.tenant.as_ref().map(|tenant| Arc::clone(&tenant.label)),
            endpoint,
            credential: self.credential.clone(),
            status: status.as_u16(),
            source: match self.result {
                CacheResult::Hit | CacheResult::Stale => Some("cache"),
                CacheResult::Miss
                | CacheResult::Collapsed
                | CacheResult::Revalidated
                | CacheResult::Bypass => Some("upstream"),
                CacheResult::NotAsked => None,
            },
            failure: self.reason.filter(|_| self.outcome == TenantOutcome::Error),
        })
    }

    /// Takes note of where it leads.
    pub fn led_to(&mut self, route: &Route) {
        self.bare = route.bare;
        self.tenant = Some(Arc::clone(route.permit.tenant()));
        self.endpoint = Some(route.permit.endpoint().position);
        self.credential = Some(Arc::clone(route.permit.credential()));
        self.counted = Some(Arc::clone(&route.counted));
    }

    /// Takes note of where it is refused.
    pub fn ended_at(&mut self, dead_end: &DeadEnd) {
        self.bare = dead_end.bare;
        self.tenant = Some(Arc::clone(&dead_end.tenant));
        self.endpoint = Some(dead_end.endpoint);
        self.counted = Some(Arc::clone(&dead_end.counted));
    }

    /// Takes note of an answer.
    pub fn note(&mut self, answer: &Answer) {
        self.status = Some(answer.status);
        self.result = answer.result;
        self.rate = answer.rate;
        self.upstream = answer.upstream;
        self.waited = answer.waited;
        self.token = answer.token;
        self.reason = answer.status.detail;
        self.outcome = match answer.result {
            CacheResult::Hit => TenantOutcome::Hit,
            CacheResult::Stale => TenantOutcome::Stale,
            CacheResult::Miss
            | CacheResult::Collapsed
            | CacheResult::Revalidated
            | CacheResult::Bypass
            | CacheResult::NotAsked => TenantOutcome::Miss,
        };
        if self.is_written_down {
            self.upstream_request_id = match &answer.content {
                Content::Entry(entry) => entry.upstream_request_id(),
                Content::Stream(stream) => stream.upstream_request_id.clone(),
            };
        }
    }
}
