//! What is known about a request when it is answered: for the log, the metrics, and the fields that every response carries.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::domain::credential::Credential;
use crate::domain::entitlement::Permit;
use crate::domain::tenant::Tenant;
use crate::fetch::fetch_result::Answer;
use crate::log::audit::AuditKind;
use crate::log::request_id::RequestId;
use crate::metrics::{CacheResult, TenantMetrics, TenantOutcome};
use crate::rfc9111::cache_status::CacheStatus;
use crate::snapshot::Snapshot;
use crate::upstream::exchange::Exchange;

/// The record of one request.
pub struct RequestLog {
    /// The client's id, if it sent a valid one; otherwise a random one.
    pub request_id: RequestId,
    /// The tenant, once it is known.
    pub tenant: Option<Arc<Tenant>>,
    /// The credential, once the request is permitted.
    pub credential: Option<Arc<Credential>>,
    /// Whether too many requests are in flight for this one to wait.
    pub overloaded: bool,
    /// Whether the path names the tenant.
    pub tenant_in_path: bool,
    /// Whether it has a body, which is not read.
    pub unread_body: bool,
    /// The position of its endpoint in the closed list.
    pub endpoint: Option<usize>,
    /// What `Cache-Status` says, if the cache was asked.
    pub cache_status: Option<CacheStatus>,
    /// What the cache did.
    pub result: CacheResult,
    /// The exchange with upstream.
    pub exchange: Exchange,
    /// The code of its rejection, or the reason why the response was not stored.
    pub reason: Option<&'static str>,
    /// The outcome for its tenant.
    pub outcome: TenantOutcome,
    /// The series of its tenant, once it is permitted.
    pub tenant_metrics: Option<Arc<TenantMetrics>>,
    /// Talkdesk's id of the request.
    pub upstream_request_id: Option<Arc<str>>,
}

impl RequestLog {
    /// The record of a request with these fields.
    #[must_use]
    pub fn new(fields: &HeaderMap) -> Self {
        Self {
            request_id: RequestId::of(fields),
            tenant: None,
            credential: None,
            overloaded: false,
            tenant_in_path: true,
            unread_body: false,
            endpoint: None,
            cache_status: None,
            result: CacheResult::NotAsked,
            exchange: Exchange::default(),
            reason: None,
            outcome: TenantOutcome::Error,
            tenant_metrics: None,
            upstream_request_id: None,
        }
    }

    /// What the audit log says of it, with the status of its answer; nothing of what is not about data.
    #[must_use]
    pub fn audited(&self, endpoint: Option<Arc<str>>, status: StatusCode) -> Option<AuditKind> {
        let denied_by = self.reason.filter(|_| self.outcome == TenantOutcome::Denied);
        if denied_by.is_none() && self.credential.is_none() {
            return None;
        }
        Some(AuditKind::Request {
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

    /// Records the permit.
    pub fn permitted(&mut self, permit: &Permit, snapshot: &Snapshot) {
        self.credential = Some(Arc::clone(permit.credential()));
        self.tenant_metrics = Some(snapshot.own_tenant_metrics(&permit.tenant().name));
    }

    /// Records the answer.
    pub fn answered(&mut self, answer: &Answer) {
        self.cache_status = Some(answer.status);
        self.result = answer.result;
        self.exchange = answer.exchange;
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
        self.upstream_request_id = answer.entry.upstream_request_id().cloned();
    }
}
