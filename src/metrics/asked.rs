//! A tenant's last request: time, endpoint, status and outcome, packed into one atomic word, so that storing it
//! takes no lock. The endpoint is stored as a number; neither path nor query is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::handles::TenantOutcome;
use super::{EndpointMetrics, Metrics};

/// A tenant's last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When the request arrived, to the second.
    pub at: SystemTime,
    /// The endpoint's name; `other` if the request matched none.
    pub endpoint: Arc<str>,
    /// The response status.
    pub status: u16,
    /// The outcome.
    pub outcome: TenantOutcome,
}

/// The atomic word; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LastAsked(Arc<AtomicU64>);

const ENDPOINT_BITS: u32 = 16;
const STATUS_BITS: u32 = 10;
const OUTCOME_BITS: u32 = 3;
const SECONDS_FROM: u32 = OUTCOME_BITS + STATUS_BITS + ENDPOINT_BITS;

impl LastAsked {
    pub(super) fn store(
        &self,
        at: SystemTime,
        endpoint: &EndpointMetrics,
        status: StatusCode,
        outcome: TenantOutcome,
    ) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let word = (seconds << ENDPOINT_BITS) | u64::from(endpoint.number);
        let word = (word << STATUS_BITS) | u64::from(status.as_u16());
        let word = (word << OUTCOME_BITS) | outcome as u64;
        // A request that arrived earlier may end later and must not replace a newer one. Most hits within a second
        // are equal, and then nothing is written.
        let is_news = |known: u64| (known != word && known >> SECONDS_FROM <= seconds).then_some(word);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_news);
    }

    pub(super) fn load(&self, metrics: &Metrics) -> Option<Asked> {
        let word = self.0.load(Ordering::Relaxed);
        let outcome = *TenantOutcome::ALL.get(part(word, 0, OUTCOME_BITS))?;
        let status = part(word, OUTCOME_BITS, STATUS_BITS);
        let endpoint = part(word, OUTCOME_BITS + STATUS_BITS, ENDPOINT_BITS);
        let seconds = word >> SECONDS_FROM;
        (word != 0).then(|| Asked {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            endpoint: metrics.endpoint_of_number(endpoint),
            status: u16::try_from(status).unwrap_or_default(),
            outcome,
        })
    }
}

fn part(word: u64, from: u32, bits: u32) -> usize {
    usize::try_from((word >> from) & ((1 << bits) - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_last_is_told_as_it_was() {
        let metrics = Metrics::new();
        let tenant = metrics.tenant("organizations/acme");
        assert_eq!(tenant.asked_last(&metrics), None, "it has not asked yet");
        let names = ["invoices", "other", "reports"].map(|name| (name, metrics.endpoint(name)));
        let mut at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        for (name, endpoint) in &names {
            for status in [StatusCode::OK, StatusCode::BAD_GATEWAY, StatusCode::from_u16(999).expect("one")] {
                for outcome in TenantOutcome::ALL {
                    at += Duration::from_secs(1);
                    tenant.ended(outcome, at + Duration::from_millis(700), endpoint, status);
                    let wanted = Asked { at, endpoint: (*name).into(), status: status.as_u16(), outcome };
                    assert_eq!(tenant.asked_last(&metrics), Some(wanted));
                }
            }
        }
    }

    #[test]
    fn what_came_earlier_and_ended_later_was_not_asked_last() {
        let metrics = Metrics::new();
        let (tenant, endpoint) = (metrics.tenant("organizations/acme"), metrics.endpoint("invoices"));
        let came = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds);
        tenant.ended(TenantOutcome::Hit, came(20), &endpoint, StatusCode::OK);
        tenant.ended(TenantOutcome::Error, came(0), &endpoint, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(tenant.asked_last(&metrics).map(|asked| asked.status), Some(200));
        tenant.ended(TenantOutcome::Error, came(20), &endpoint, StatusCode::BAD_GATEWAY);
        assert_eq!(tenant.asked_last(&metrics).map(|asked| asked.status), Some(502));
    }

    #[test]
    fn an_endpoint_has_one_number_however_often_a_configuration_is_loaded() {
        let metrics = Metrics::new();
        let (first, other) = (metrics.endpoint("invoices").number, metrics.endpoint("products").number);
        assert_eq!(metrics.endpoint("invoices").number, first);
        assert_ne!(first, other);
        assert_eq!(&*metrics.endpoint_of_number(usize::from(first)), "invoices");
    }
}
