//! Registers series. The names and labels come from this crate, so an error is a bug and panics at startup.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// The prefix of all metric names.
pub const PREFIX: &str = "billing_insights_proxy_";

pub(super) const WELL_FORMED: &str = "the names and labels of this crate are well-formed";
pub(super) const REGISTERED_ONCE: &str = "each name of this crate is registered once";

/// Creates series with the prefix and adds them to a registry.
pub(super) struct Registration<'a>(pub(super) &'a Registry);

impl Registration<'_> {
    pub(super) fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> C {
        let collector = made.expect(WELL_FORMED);
        self.0.register(Box::new(collector.clone())).expect(REGISTERED_ONCE);
        collector
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(format!("{PREFIX}{name}"), help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(format!("{PREFIX}{name}"), help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(format!("{PREFIX}{name}"), help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(format!("{PREFIX}{name}"), help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }
}
