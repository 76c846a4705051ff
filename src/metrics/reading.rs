//! A reading of all series as numbers. The status page uses it, so it shows the same values that Prometheus
//! scrapes.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Metric, MetricFamily};

use super::registration::PREFIX;

/// Counts by label value.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The values of all series at one moment.
pub(crate) struct Reading(Vec<MetricFamily>);

impl Reading {
    pub(super) fn new(families: Vec<MetricFamily>) -> Self {
        Self(families)
    }

    /// The sum of all series of a counter or gauge.
    #[must_use]
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.series(name).map(value_of).sum()
    }

    /// The sum of the series whose label value begins with `begin`.
    #[must_use]
    pub(crate) fn sum_where(&self, name: &str, label: &str, begin: &str) -> u64 {
        self.series(name).filter(|series| label_of(series, label).starts_with(begin)).map(value_of).sum()
    }

    /// The sums by label value.
    #[must_use]
    pub(crate) fn by(&self, name: &str, label: &str) -> Counts {
        let mut found = Counts::new();
        for series in self.series(name) {
            let value = label_of(series, label);
            match found.get_mut(value) {
                Some(sum) => *sum += value_of(series),
                None => _ = found.insert(value.to_owned(), value_of(series)),
            }
        }
        found
    }

    /// The sums by two label values; `outer` is the key of the outer map.
    #[must_use]
    pub(crate) fn by_both(&self, name: &str, outer: &str, inner: &str) -> BTreeMap<String, Counts> {
        let mut found: BTreeMap<String, Counts> = BTreeMap::new();
        for series in self.series(name) {
            let counts = found.entry(label_of(series, outer).to_owned()).or_default();
            *counts.entry(label_of(series, inner).to_owned()).or_default() += value_of(series);
        }
        found
    }

    /// The values of a gauge by label value.
    #[must_use]
    pub(crate) fn gauges(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let one = |series: &Metric| (label_of(series, label).to_owned(), series.get_gauge().get_value());
        self.series(name).map(one).collect()
    }

    /// The number of observations per bucket of a histogram, not cumulative, summed over all its series. The last
    /// number counts the observations above the last bound.
    #[must_use]
    pub(crate) fn buckets(&self, name: &str) -> Vec<u64> {
        let mut buckets = Vec::new();
        for series in self.series(name) {
            let histogram = series.get_histogram();
            let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
            let ends = finite.map(Bucket::cumulative_count);
            let mut below = 0;
            for (place, end) in ends.chain([histogram.get_sample_count()]).enumerate() {
                if buckets.len() <= place {
                    buckets.push(0);
                }
                // A scrape may happen between the updates of the total and of the bucket.
                buckets[place] += end.saturating_sub(below);
                below = end.max(below);
            }
        }
        buckets
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &Metric> {
        let family = self.0.iter().find(|family| family.name().strip_prefix(PREFIX) == Some(name));
        family.into_iter().flat_map(MetricFamily::get_metric)
    }
}

/// The value of a counter or gauge; for either type, the field of the other is zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole, and never negative"
)]
fn value_of(series: &Metric) -> u64 {
    (series.get_counter().get_value() + series.get_gauge().get_value()) as u64
}

fn label_of<'a>(series: &'a Metric, name: &str) -> &'a str {
    series.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::metrics::{CacheResult, Metrics};

    #[test]
    fn an_observation_is_counted_in_its_own_bucket() {
        let metrics = Metrics::new();
        let endpoint = metrics.endpoint("invoices");
        for seconds in [0.00005, 0.0002, 0.0002, 99.0] {
            endpoint.answered(StatusCode::OK, CacheResult::Hit, seconds);
        }
        metrics.endpoint("products").answered(StatusCode::OK, CacheResult::Miss, 0.0002);
        let buckets = metrics.reading().buckets("http_request_duration_seconds");
        assert_eq!(buckets, [1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_sum_covers_all_values_of_the_other_labels() {
        let metrics = Metrics::new();
        metrics.endpoint("invoices").answered(StatusCode::OK, CacheResult::Hit, 0.1);
        metrics.endpoint("products").answered(StatusCode::BAD_GATEWAY, CacheResult::Miss, 0.1);
        let reading = metrics.reading();
        assert_eq!(reading.sum("http_requests_total"), 2);
        assert_eq!(reading.sum_where("http_requests_total", "status", "5"), 1);
        assert_eq!(reading.by("http_requests_total", "cache")["hit"], 1);
        assert_eq!(reading.by_both("cache_requests_total", "endpoint", "result")["products"]["miss"], 1);
    }
}
