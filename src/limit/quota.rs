//! The quota of a configured rate.

use std::time::Duration;

use governor::Quota;

use crate::config::Rate;

/// The quota of a configured rate.
#[must_use]
pub fn quota(rate: Rate) -> Quota {
    let interval = rate.interval.max(Duration::from_nanos(1));
    Quota::with_period(interval)
        .map_or_else(|| Quota::per_second(rate.burst), |quota| quota.allow_burst(rate.burst))
}
