//! The metrics of the proxy, for Prometheus.
//!
//! One struct with its own registry, so that several proxies in one process (as in tests) have separate series.
//! `docs/metrics.md` lists names, units and labels. Every label value comes from a closed set; text from a client
//! is never a label value. Looking up a series hashes, locks and clones, so the series of the hit path are looked
//! up once: [`EndpointMetrics`] and [`TenantMetrics`].

mod credentials;
mod handles;
pub(crate) mod history;
pub(crate) mod reading;
mod registration;
mod registry;

pub use handles::{CacheResult, EndpointMetrics, TenantMetrics, TenantOutcome};
pub use registration::PREFIX;
pub use registry::Metrics;
pub(crate) use registry::REQUEST_DURATION_BUCKETS;
