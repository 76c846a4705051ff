//! The registry with all metrics.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use super::history::History;
use super::reading::Reading;
use super::registration::{PREFIX, REGISTERED_ONCE, Registration, WELL_FORMED};

use crate::version::{REVISION, VERSION};

/// All series of one proxy.
#[derive(Debug)]
pub struct Metrics {
    pub(super) registry: Registry,
    /// The increments of the last hour.
    pub(crate) history: History,
    pub(super) http_requests: IntCounterVec,
    pub(super) http_request_duration: HistogramVec,
    /// `http_requests_in_flight`: requests in progress.
    pub(crate) http_requests_in_flight: IntGauge,
    pub(super) tenant_requests: IntCounterVec,
    pub(super) tenant_upstream_requests: IntCounterVec,
    pub(super) requests_denied: IntCounterVec,
    pub(super) cache_requests: IntCounterVec,
    pub(super) cache_not_stored: IntCounterVec,
    /// `cache_entries`: entries in the cache.
    pub(crate) cache_entries: IntGauge,
    /// `cache_bytes`: memory used by the entries.
    pub(crate) cache_bytes: IntGauge,
    pub(super) cache_evictions: IntCounterVec,
    pub(super) token_requests: IntCounterVec,
    /// `token_request_duration_seconds`: duration of token requests.
    pub(crate) token_request_duration: Histogram,
    /// `token_expiry_timestamp_seconds`: expiry time of each credential's token.
    pub(crate) token_expiry_timestamp: GaugeVec,
    pub(super) upstream_requests: IntCounterVec,
    pub(super) upstream_request_duration: HistogramVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) upstream_retries: IntCounterVec,
    /// `upstream_interim_responses_total`: interim responses (1xx) of the API, which are not forwarded.
    pub(crate) upstream_interim_responses: IntCounter,
    /// `upstream_paused_until_timestamp_seconds`: end of each credential's pause.
    pub(crate) upstream_paused_until_timestamp: GaugeVec,
    pub(super) rate_limit_decisions: IntCounterVec,
    /// `rate_limit_wait_seconds`: time that requests wait for a rate limit.
    pub(crate) rate_limit_wait: Histogram,
    /// `account_mismatch_total`: responses that failed the account check.
    pub(crate) account_mismatch: IntCounter,
    pub(super) account_scope_unproven: GaugeVec,
    /// `accounts_skipped`: accounts that discovery could not use.
    pub(crate) accounts_skipped: GaugeVec,
    pub(super) credential_state: GaugeVec,
    pub(super) credential_secret_available: GaugeVec,
    pub(super) stale_served: IntCounterVec,
    /// `config_last_reload_successful`: 1 if the last attempt to load a configuration succeeded, else 0.
    pub(crate) config_last_reload_successful: IntGauge,
    /// `config_last_reload_success_timestamp_seconds`: time of the last successful load.
    pub(crate) config_last_reload_success_timestamp: Gauge,
    /// `log_dropped_total`: access log lines dropped because the queue was full or writing failed.
    pub(crate) log_dropped: IntCounter,
    /// `audit_dropped_total`: audit log lines dropped because the queue was full or writing failed.
    pub(crate) audit_dropped: IntCounter,
}

/// Histogram buckets in seconds, from a cache hit to a request that reaches its deadline.
pub(crate) const REQUEST_DURATION_BUCKETS: [f64; 14] =
    [0.0001, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Histogram buckets in seconds, from a nearby token endpoint to one that does not respond.
const UPSTREAM_DURATION_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The states of a credential, as in `/api/credentials` and in the metric `credential_state`.
pub(crate) const CREDENTIAL_STATES: [&str; 6] =
    ["absent", "fetching", "valid", "refreshing", "backing_off", "rejected"];

impl Metrics {
    /// New series in their own registry, with `build_info` for this version.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list, and better read as one")]
    pub fn new() -> Self {
        let registry = Registry::new();
        register_build_and_process(&registry);
        let register = Registration(&registry);
        Self {
            http_requests: register.counters(
                "http_requests_total",
                "Requests answered, by endpoint, status and what the cache did.",
                &["endpoint", "status", "cache"],
            ),
            http_request_duration: register.histograms(
                "http_request_duration_seconds",
                "Time from a request's head to the head of its answer.",
                &["endpoint", "cache"],
                &REQUEST_DURATION_BUCKETS,
            ),
            http_requests_in_flight: register
                .gauge("http_requests_in_flight", "Requests being answered now."),
            tenant_requests: register.counters(
                "tenant_requests_total",
                "Requests by tenant and how they ended.",
                &["tenant", "outcome"],
            ),
            tenant_upstream_requests: register.counters(
                "tenant_upstream_requests_total",
                "Requests sent to Talkdesk's API, by the tenant they were for.",
                &["tenant"],
            ),
            requests_denied: register.counters(
                "requests_denied_total",
                "Requests refused before anything went upstream, by reason.",
                &["reason"],
            ),
            cache_requests: register.counters(
                "cache_requests_total",
                "Requests that reached the cache, by what it did.",
                &["endpoint", "result"],
            ),
            cache_not_stored: register.counters(
                "cache_not_stored_total",
                "Answers that were not stored, by reason.",
                &["reason"],
            ),
            cache_entries: register.gauge("cache_entries", "Entries in the cache."),
            cache_bytes: register.gauge("cache_bytes", "Memory that the entries of the cache take."),
            cache_evictions: register.counters(
                "cache_evictions_total",
                "Entries that left the cache, by cause.",
                &["cause"],
            ),
            token_requests: register.counters(
                "token_requests_total",
                "Requests to the token endpoint, by the credential's owner and result.",
                &["tenant", "result"],
            ),
            token_request_duration: register.histogram(
                "token_request_duration_seconds",
                "Time of a request to the token endpoint.",
                &UPSTREAM_DURATION_BUCKETS,
            ),
            token_expiry_timestamp: register.gauges(
                "token_expiry_timestamp_seconds",
                "When the token of a credential ends, in Unix time.",
                &["tenant"],
            ),
            upstream_requests: register.counters(
                "upstream_requests_total",
                "Requests sent to Talkdesk's API, by endpoint and the status of the answer.",
                &["endpoint", "status"],
            ),
            upstream_request_duration: register.histograms(
                "upstream_request_duration_seconds",
                "Time from sending a request to Talkdesk's API to the end of its answer.",
                &["endpoint"],
                &UPSTREAM_DURATION_BUCKETS,
            ),
            upstream_errors: register.counters(
                "upstream_errors_total",
                "Requests to Talkdesk's API without a usable answer, by kind.",
                &["kind"],
            ),
            upstream_retries: register.counters(
                "upstream_retries_total",
                "Requests to Talkdesk's API that were sent again, by reason.",
                &["reason"],
            ),
            upstream_interim_responses: register.counter(
                "upstream_interim_responses_total",
                "Interim answers (1xx) of Talkdesk's API; they go no further.",
            ),
            upstream_paused_until_timestamp: register.gauges(
                "upstream_paused_until_timestamp_seconds",
                "Until when Talkdesk asked a credential to pause, in Unix time; 0 if never.",
                &["tenant"],
            ),
            rate_limit_decisions: register.counters(
                "rate_limit_decisions_total",
                "Decisions of the limits: upstream, client or token; allowed, waited or refused.",
                &["limit", "decision"],
            ),
            rate_limit_wait: register.histogram(
                "rate_limit_wait_seconds",
                "Time that requests waited for the limit of their credential.",
                &UPSTREAM_DURATION_BUCKETS,
            ),
            account_mismatch: register.counter(
                "account_mismatch_total",
                "Answers for an Instance that held, or might have held, another account's records.",
            ),
            account_scope_unproven: register.gauges(
                "account_scope_unproven",
                "1 where Talkdesk is known not to narrow an endpoint to an account by the configured filter, 0 where it does.",
                &["tenant", "endpoint"],
            ),
            accounts_skipped: register.gauges(
                "accounts_skipped",
                "Accounts that Talkdesk listed without an id or a name that can be used.",
                &["tenant"],
            ),
            credential_state: register.gauges(
                "credential_state",
                "1 for the state that a credential is in, 0 for the others.",
                &["tenant", "state"],
            ),
            credential_secret_available: register.gauges(
                "credential_secret_available",
                "1 where the secret of a credential could be used when the configuration was loaded last, else 0.",
                &["tenant"],
            ),
            stale_served: register.counters("stale_served_total", "Stale answers, by why.", &["reason"]),
            config_last_reload_successful: register.gauge(
                "config_last_reload_successful",
                "1 where the latest configuration that was to be loaded could be, else 0.",
            ),
            config_last_reload_success_timestamp: register.add(Gauge::new(
                format!("{PREFIX}config_last_reload_success_timestamp_seconds"),
                "When a configuration was loaded last, in Unix time.",
            )),
            log_dropped: register.counter(
                "log_dropped_total",
                "Access log lines dropped because their writer could not keep up.",
            ),
            audit_dropped: register.counter(
                "audit_dropped_total",
                "Audit log lines dropped because they could not be written in time, or at all.",
            ),
            registry,
            history: History::default(),
        }
        .with_zeros()
    }

    /// Creates the series of small closed sets at startup: `rate()` over a series that appears with its first
    /// event would miss that event.
    fn with_zeros(self) -> Self {
        for reason in ["while_revalidate", "error", "slow", "paused", "limited", "rejected"] {
            self.stale_served.with_label_values(&[reason]);
        }
        for kind in [
            "connect",
            "tls",
            "reset",
            "timeout",
            "protocol",
            "too_large",
            "account_mismatch",
            "account_scope_unproven",
            "token_in_answer",
        ] {
            self.upstream_errors.with_label_values(&[kind]);
        }
        self.requests_denied.with_label_values(&["denied_by_talkdesk"]);
        for cause in ["size", "expired", "replaced", "purged"] {
            self.cache_evictions.with_label_values(&[cause]);
        }
        for limit in ["upstream", "client", "token"] {
            for decision in ["allowed", "waited", "refused"] {
                self.rate_limit_decisions.with_label_values(&[limit, decision]);
            }
        }
        for reason in ["token_rejected", "connect", "reset", "502", "503", "504"] {
            self.upstream_retries.with_label_values(&[reason]);
        }
        self
    }

    /// The Prometheus text format of all series.
    #[must_use]
    pub fn text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// The current values of all series.
    #[must_use]
    pub(crate) fn reading(&self) -> Reading {
        Reading::new(self.registry.gather())
    }

    /// Counts a request refused before anything was sent upstream.
    pub(crate) fn denied(&self, reason: &str) {
        self.requests_denied.with_label_values(&[reason]).inc();
    }

    /// Counts a response that was not stored.
    pub(crate) fn not_stored(&self, reason: &str) {
        self.cache_not_stored.with_label_values(&[reason]).inc();
    }

    /// Counts an entry that was removed from the cache.
    pub(crate) fn evicted(&self, cause: &str) {
        self.cache_evictions.with_label_values(&[cause]).inc();
    }

    /// Counts a token request. `tenant` is the owner of the credential.
    pub(crate) fn token_request(&self, tenant: &str, result: &str) {
        self.token_requests.with_label_values(&[tenant, result]).inc();
    }

    /// Creates a series of token requests at zero.
    pub(crate) fn touch_token_request(&self, tenant: &str, result: &str) {
        self.token_requests.with_label_values(&[tenant, result]);
    }

    /// Counts a request to the API without a usable response.
    pub(crate) fn upstream_error(&self, kind: &str) {
        self.upstream_errors.with_label_values(&[kind]).inc();
    }

    /// Counts a retried request to the API.
    pub(crate) fn upstream_retry(&self, reason: &str) {
        self.upstream_retries.with_label_values(&[reason]).inc();
    }

    /// Sets whether Talkdesk is known not to restrict an endpoint to an account.
    pub(crate) fn account_scope_unproven(&self, tenant: &str, endpoint: &str, unproven: bool) {
        self.account_scope_unproven.with_label_values(&[tenant, endpoint]).set(if unproven {
            1.0
        } else {
            0.0
        });
    }

    /// Counts a decision of a rate limit.
    pub(crate) fn limit(&self, limit: &str, decision: &str) {
        self.rate_limit_decisions.with_label_values(&[limit, decision]).inc();
    }

    /// Counts a stale response.
    pub(crate) fn stale_served(&self, reason: &str) {
        self.stale_served.with_label_values(&[reason]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register_build_and_process(registry: &Registry) {
    let build = Opts::new(format!("{PREFIX}build_info"), "The version that runs; always 1.");
    let build = GaugeVec::new(build, &["version", "revision"]).expect(WELL_FORMED);
    build.with_label_values(&[VERSION, REVISION]).set(1.0);
    registry.register(Box::new(build)).expect(REGISTERED_ONCE);
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).expect(REGISTERED_ONCE);
}
