//! What the proxy counts and measures, for Prometheus.
//!
//! One struct with a registry of its own, so that two proxies in one process (as in tests) count apart. Names,
//! units and labels are in `docs/metrics.md`; every label comes from a closed set, and text that a client sent
//! is in none. Looking up a series hashes, locks and clones, so what the hit path counts is looked up once:
//! [`EndpointMetrics`] and [`TenantMetrics`].

mod asked;
mod credentials;
mod handles;
pub mod history;
pub mod reading;

use std::sync::{Arc, Mutex};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

pub use asked::Asked;
pub use handles::{CacheResult, EndpointMetrics, TenantMetrics, TenantOutcome};

use history::History;
use reading::Reading;

use crate::version::{REVISION, VERSION};

/// The prefix of every name.
pub const PREFIX: &str = "billing_insights_proxy_";

/// All series of one proxy.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What moved in the last hour.
    pub history: History,
    /// The names of endpoints, by number: those of the configurations so far.
    endpoint_names: Mutex<Vec<Arc<str>>>,
    http_requests: IntCounterVec,
    http_request_duration: HistogramVec,
    /// Requests being answered.
    pub http_requests_in_flight: IntGauge,
    tenant_requests: IntCounterVec,
    tenant_upstream_requests: IntCounterVec,
    requests_denied: IntCounterVec,
    cache_requests: IntCounterVec,
    cache_not_stored: IntCounterVec,
    /// Entries in the cache.
    pub cache_entries: IntGauge,
    /// What they weigh.
    pub cache_bytes: IntGauge,
    cache_evictions: IntCounterVec,
    token_requests: IntCounterVec,
    /// How long token requests take.
    pub token_request_duration: Histogram,
    /// When each credential's token ends.
    pub token_expiry_timestamp: GaugeVec,
    upstream_requests: IntCounterVec,
    upstream_request_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_retries: IntCounterVec,
    /// Interim answers of the API, which go no further.
    pub upstream_interim_responses: IntCounter,
    /// Until when each credential pauses.
    pub upstream_paused_until_timestamp: GaugeVec,
    rate_limit_decisions: IntCounterVec,
    /// How long requests wait for a limit.
    pub rate_limit_wait: Histogram,
    /// Answers that failed the account check.
    pub account_mismatch: IntCounter,
    account_scope_unproven: GaugeVec,
    /// Accounts that discovery could not use.
    pub accounts_skipped: GaugeVec,
    credential_state: GaugeVec,
    credential_secret_available: GaugeVec,
    stale_served: IntCounterVec,
    /// Whether the latest configuration that was to be loaded could be.
    pub config_last_reload_successful: IntGauge,
    /// When a configuration was loaded last.
    pub config_last_reload_success_timestamp: Gauge,
    /// Access log lines that were dropped because the writer could not keep up.
    pub log_dropped: IntCounter,
    /// Audit log lines that were dropped likewise, or could not be written.
    pub audit_dropped: IntCounter,
}

/// From a hit in memory to a request that runs into its deadline, in seconds.
pub const REQUEST_SECONDS: [f64; 14] =
    [0.0001, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// From a near token endpoint to one that does not answer, in seconds.
const UPSTREAM_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The states of a credential, as `/api/credentials` and `credential_state` name them.
pub const CREDENTIAL_STATES: [&str; 6] =
    ["absent", "fetching", "valid", "refreshing", "backing_off", "rejected"];

impl Metrics {
    /// A fresh set of series, with `build_info` for this version.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list, and better read as one")]
    pub fn new() -> Self {
        let registry = Registry::new();
        register_build_and_process(&registry);
        let register = Registering(&registry);
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
                &REQUEST_SECONDS,
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
                &UPSTREAM_SECONDS,
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
                &UPSTREAM_SECONDS,
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
                &UPSTREAM_SECONDS,
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
            endpoint_names: Mutex::default(),
        }
        .with_zeros()
    }

    /// The closed sets that are small are there from the start: a rate over a series that appears with its
    /// first event would miss that event.
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

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// What all series are now.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading::new(self.registry.gather())
    }

    /// Counts a request refused before anything went upstream.
    pub fn denied(&self, reason: &str) {
        self.requests_denied.with_label_values(&[reason]).inc();
    }

    /// Counts an answer that was not stored.
    pub fn not_stored(&self, reason: &str) {
        self.cache_not_stored.with_label_values(&[reason]).inc();
    }

    /// Counts an entry that left the cache.
    pub fn evicted(&self, cause: &str) {
        self.cache_evictions.with_label_values(&[cause]).inc();
    }

    /// Counts a token request of a credential's owner.
    pub fn token_request(&self, tenant: &str, result: &str) {
        self.token_requests.with_label_values(&[tenant, result]).inc();
    }

    /// Makes a series of token requests show from the start.
    pub fn touch_token_request(&self, tenant: &str, result: &str) {
        self.token_requests.with_label_values(&[tenant, result]);
    }

    /// Counts a request to the API without a usable answer.
    pub fn upstream_error(&self, kind: &str) {
        self.upstream_errors.with_label_values(&[kind]).inc();
    }

    /// Counts a request to the API that is sent again.
    pub fn upstream_retry(&self, reason: &str) {
        self.upstream_retries.with_label_values(&[reason]).inc();
    }

    /// Shows whether Talkdesk narrows an endpoint to an account.
    pub fn account_scope_unproven(&self, tenant: &str, endpoint: &str, unproven: bool) {
        self.account_scope_unproven.with_label_values(&[tenant, endpoint]).set(if unproven {
            1.0
        } else {
            0.0
        });
    }

    /// Counts a limit's decision.
    pub fn limit(&self, limit: &str, decision: &str) {
        self.rate_limit_decisions.with_label_values(&[limit, decision]).inc();
    }

    /// Counts a stale answer.
    pub fn stale_served(&self, reason: &str) {
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

const WELL_FORMED: &str = "the names and labels in this file are well-formed";
const REGISTERED_ONCE: &str = "each name in this file is registered once";

struct Registering<'a>(&'a Registry);

impl Registering<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect(WELL_FORMED);
        self.0.register(Box::new(collector.clone())).expect(REGISTERED_ONCE);
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(format!("{PREFIX}{name}"), help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(format!("{PREFIX}{name}"), help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(format!("{PREFIX}{name}"), help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(format!("{PREFIX}{name}"), help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }
}
