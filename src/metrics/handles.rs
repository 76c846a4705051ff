//! Handles to series, looked up once instead of on every request.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use http::StatusCode;
use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::registry::Metrics;

/// The result of the cache lookup for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// Answered from a fresh entry.
    Hit,
    /// Answered from a stale entry.
    Stale,
    /// Fetched from upstream.
    Miss,
    /// Answered with the response of another request's fetch (request collapsing).
    Collapsed,
    /// Answered from an entry that upstream confirmed (revalidation).
    Revalidated,
    /// Fetched from upstream and not stored.
    Bypass,
    /// The cache was not consulted.
    NotAsked,
}

/// The outcome of a tenant's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantOutcome {
    /// Answered from a fresh entry.
    Hit,
    /// Answered from a stale entry.
    Stale,
    /// Answered after a request to upstream.
    Miss,
    /// Denied by the entitlement.
    Denied,
    /// Any other error.
    Error,
}

/// The series of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    name: Arc<str>,
    requests: IntCounterVec,
    /// Counters of the most frequent statuses (200 and 304), by cache result; each is looked up when it is first
    /// used.
    ok: [OnceLock<IntCounter>; CacheResult::ALL.len()],
    not_modified: [OnceLock<IntCounter>; CacheResult::ALL.len()],
    durations: [Histogram; CacheResult::ALL.len()],
    results: [IntCounter; CacheResult::ALL.len() - 1],
    upstream_requests: IntCounterVec,
    upstream_ok: OnceLock<IntCounter>,
    /// Duration of requests to the API, in seconds.
    pub(crate) upstream_duration: Histogram,
}

/// The series of one tenant.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    outcomes: [IntCounter; TenantOutcome::ALL.len()],
    last_request: Arc<Mutex<Option<LastRequest>>>,
    /// Requests sent to the API for this tenant.
    pub(crate) upstream_requests: IntCounter,
}

/// A tenant's last request. Neither path nor query is kept, because they may contain confidential data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastRequest {
    /// When the request arrived.
    pub(crate) at: SystemTime,
    /// The endpoint's name; `other` if the request matched none.
    pub(crate) endpoint: Arc<str>,
    /// The response status.
    pub(crate) status: StatusCode,
    /// The outcome.
    pub(crate) outcome: TenantOutcome,
}

impl CacheResult {
    /// All results, in the order of the variants, which is the index of the tables of series.
    pub(crate) const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Collapsed,
        Self::Revalidated,
        Self::Bypass,
        Self::NotAsked,
    ];

    /// The value of the label.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
            Self::NotAsked => "none",
        }
    }
}

impl TenantOutcome {
    /// All outcomes, in the order of the variants, which is the index of the tables of series.
    pub(crate) const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Miss, Self::Denied, Self::Error];

    /// The value of the label.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    /// The series of an endpoint; `other` is for requests that match none.
    #[must_use]
    pub(crate) fn endpoint(&self, name: &str) -> EndpointMetrics {
        let duration =
            |result: CacheResult| self.http_request_duration.with_label_values(&[name, result.as_str()]);
        let result = |result: CacheResult| self.cache_requests.with_label_values(&[name, result.as_str()]);
        let [consulted @ .., _] = CacheResult::ALL;
        for status in ["200", "304"] {
            // Create the series now, so that `increase()` sees the first request.
            self.http_requests.with_label_values(&[name, status, "hit"]);
        }
        EndpointMetrics {
            name: name.into(),
            ok: Default::default(),
            not_modified: Default::default(),
            upstream_ok: OnceLock::new(),
            requests: self.http_requests.clone(),
            durations: CacheResult::ALL.map(duration),
            results: consulted.map(result),
            upstream_requests: self.upstream_requests.clone(),
            upstream_duration: self.upstream_request_duration.with_label_values(&[name]),
        }
    }

    /// The series of a tenant; `other` is for tenants without series of their own.
    #[must_use]
    pub(crate) fn tenant(&self, label: &str) -> TenantMetrics {
        TenantMetrics {
            outcomes: TenantOutcome::ALL
                .map(|outcome| self.tenant_requests.with_label_values(&[label, outcome.as_str()])),
            last_request: Arc::default(),
            upstream_requests: self.tenant_upstream_requests.with_label_values(&[label]),
        }
    }
}

impl EndpointMetrics {
    /// Counts an answered request and observes its duration.
    pub(crate) fn answered(&self, status: StatusCode, result: CacheResult, seconds: f64) {
        let series = || self.requests.with_label_values(&[&self.name, status.as_str(), result.as_str()]);
        match status {
            StatusCode::OK => self.ok[result as usize].get_or_init(series).inc(),
            StatusCode::NOT_MODIFIED => self.not_modified[result as usize].get_or_init(series).inc(),
            _ => series().inc(),
        }
        self.durations[result as usize].observe(seconds);
        if let Some(counter) = self.results.get(result as usize) {
            counter.inc();
        }
    }

    /// Counts a response of the API.
    pub(crate) fn upstream_answered(&self, status: StatusCode) {
        let series = || self.upstream_requests.with_label_values(&[&self.name, status.as_str()]);
        if status == StatusCode::OK {
            self.upstream_ok.get_or_init(series).inc();
        } else {
            series().inc();
        }
    }

    /// Counts a request to the API that got no response.
    pub(crate) fn upstream_failed(&self) {
        self.upstream_requests.with_label_values(&[&self.name, "none"]).inc();
    }
}

impl TenantMetrics {
    /// Counts the outcome of a request and stores it as the tenant's last request.
    pub(crate) fn ended(
        &self,
        outcome: TenantOutcome,
        at: SystemTime,
        endpoint: &EndpointMetrics,
        status: StatusCode,
    ) {
        self.outcomes[outcome as usize].inc();
        let mut last = self.lock_last_request();
        // A request that arrived earlier may end later and must not replace a newer one.
        if last.as_ref().is_none_or(|last| last.at <= at) {
            *last = Some(LastRequest { at, endpoint: Arc::clone(&endpoint.name), status, outcome });
        }
    }

    /// The tenant's last request, if there was one.
    #[must_use]
    pub(crate) fn last_request(&self) -> Option<LastRequest> {
        self.lock_last_request().clone()
    }

    fn lock_last_request(&self) -> MutexGuard<'_, Option<LastRequest>> {
        self.last_request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same counters for another tenant, with a last request of its own.
    #[must_use]
    pub(crate) fn with_own_last_request(&self) -> Self {
        Self { last_request: Arc::default(), ..self.clone() }
    }

    /// Takes over the last request from `before`, the handle before a reload.
    #[must_use]
    pub(crate) fn with_last_request_of(self, before: &Self) -> Self {
        Self { last_request: Arc::clone(&before.last_request), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_variant_is_its_own_index_in_the_tables_of_series() {
        for (place, result) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
        for (place, outcome) in TenantOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }

    #[test]
    fn the_last_request_is_the_one_that_arrived_last() {
        let metrics = Metrics::new();
        let (tenant, endpoint) = (metrics.tenant("organizations/acme"), metrics.endpoint("invoices"));
        assert_eq!(tenant.last_request(), None);
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds);
        tenant.ended(TenantOutcome::Hit, at(20), &endpoint, StatusCode::OK);
        let first = LastRequest {
            at: at(20),
            endpoint: "invoices".into(),
            status: StatusCode::OK,
            outcome: TenantOutcome::Hit,
        };
        assert_eq!(tenant.last_request(), Some(first.clone()));
        tenant.ended(TenantOutcome::Error, at(0), &endpoint, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(tenant.last_request(), Some(first), "it arrived earlier and ended later");
        tenant.ended(TenantOutcome::Error, at(20), &endpoint, StatusCode::BAD_GATEWAY);
        assert_eq!(tenant.last_request().map(|last| last.status), Some(StatusCode::BAD_GATEWAY));
    }

    #[test]
    fn the_text_format_contains_a_counted_request() {
        let metrics = Metrics::new();
        metrics.endpoint("invoices").answered(StatusCode::OK, CacheResult::Hit, 0.001);
        let text = metrics.text();
        assert!(text.contains(
            r#"billing_insights_proxy_http_requests_total{cache="hit",endpoint="invoices",status="200"} 1"#
        ));
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
